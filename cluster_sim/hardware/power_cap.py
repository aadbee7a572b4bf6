"""Power caps: arithmetic rates of a GPU that may not draw its full power.

A cap lowers the core clock and leaves the memory's alone, so prefill slows down and decoding hardly does (Patel et al.,
Splitwise, ISCA 2024, section VII).  Dynamic power falls steeply with the clock, since the voltage falls with it; the
exponent is such that half the power leaves 1 / 1.3 of the clock, which is what Splitwise's performance model gives for
prompts on an H100 capped at half its TDP (and 1.0 for tokens).
"""

import math
from typing import Final

from cluster_sim.errors import InputError
from cluster_sim.hardware.device import Device

HALF_POWER_SLOWDOWN: Final = 1.3
"""Factor by which compute-bound work takes longer at half the power."""
_CLOCK_EXPONENT: Final = math.log(HALF_POWER_SLOWDOWN) / math.log(2)


def capped(device: Device, power_cap_w: float | None) -> Device:
    """Return ``device`` with the arithmetic rates that it keeps under ``power_cap_w`` per GPU; None caps nothing.

    Raises InputError for a cap at which the GPU cannot run.
    """
    board_w = device.tdp_w * device.power.cap_ratio
    if power_cap_w is None or power_cap_w >= board_w:
        return device
    least_w = device.power.active_ratio * device.tdp_w
    if power_cap_w <= least_w:
        raise InputError(
            f"power_cap_w: {device.name} draws {least_w:.0f} W before it computes anything, so a cap of "
            f"{power_cap_w:g} W lets nothing run; give more than that, up to its {board_w:g} W"
        )
    kept_ratio = (power_cap_w / board_w) ** _CLOCK_EXPONENT
    return device.model_copy(update={"flops": {dtype: rate * kept_ratio for dtype, rate in device.flops.items()}})
