"""Jitter: seeded noise on step times that is a pure function of (seed, replica, stage, number of the step).

Design: every word is a SplitMix64 hash of the key, never a generator's state, so fast-forwarded steps, single steps
and stages as actors draw the same noise.  A standard normal is the sum of twelve 16-bit uniforms minus six (Irwin-Hall:
within six deviations, exact integer sums, no logarithm whose last bit could depend on the array's length).  The noisy
duration is ``duration * (1 + ratio * z)`` with z kept within three deviations, at least the stage's floor: promises
that rest on floors stay true.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from cluster_sim.hardware.batch_shape import Int64Array
from cluster_sim.splitmix64 import splitmix64, splitmix64_array

WORDS: Final = 3
DEVIATIONS: Final = 3.0


class Jitter:
    """The noise of one stage of one replica."""

    def __init__(self, ratio: float, seed: int, replica: int, stage: int, floor_ns: int) -> None:
        """``ratio`` is the standard deviation over the mean, from 0 (none) to 0.3."""
        self.ratio = ratio
        self._floor_ns = floor_ns
        key = splitmix64(seed)
        key = splitmix64(key ^ (replica + 1) * 0xD1B54A32D192ED03)
        self._key = splitmix64(key ^ (stage + 1) * 0x8CB92BA72F3D8DD7)

    def apply(self, durations_ns: Int64Array, first_step: int) -> Int64Array:
        """Return the noisy durations of consecutive steps, int64 of the same length."""
        if self.ratio == 0.0:
            return durations_ns
        steps = np.arange(first_step, first_step + len(durations_ns), dtype=np.uint64)
        z = np.zeros(len(durations_ns), dtype=np.int64)
        for word in range(WORDS):
            bits = splitmix64_array(steps * np.uint64(WORDS) + np.uint64(word) ^ np.uint64(self._key))
            for shift in (0, 16, 32, 48):
                z += ((bits >> np.uint64(shift)) & np.uint64(0xFFFF)).astype(np.int64)
        factor = _clipped(z.astype(np.float64) / 65536.0 - 6.0) * self.ratio + 1.0
        noisy = np.rint(durations_ns.astype(np.float64) * factor).astype(np.int64)
        return np.maximum(noisy, self._floor_ns)

    def apply_one(self, duration_ns: int, step: int) -> int:
        """Return the noisy duration of one step: what ``apply`` gives for it."""
        if self.ratio == 0.0:
            return duration_ns
        z = 0
        for word in range(WORDS):
            bits = splitmix64(step * WORDS + word ^ self._key)
            z += (bits & 0xFFFF) + (bits >> 16 & 0xFFFF) + (bits >> 32 & 0xFFFF) + (bits >> 48)
        deviation = min(max(float(z) / 65536.0 - 6.0, -DEVIATIONS), DEVIATIONS)
        return max(round(float(duration_ns) * (deviation * self.ratio + 1.0)), self._floor_ns)


def _clipped(z: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    result: npt.NDArray[np.float64] = np.clip(z, -DEVIATIONS, DEVIATIONS)
    return result
