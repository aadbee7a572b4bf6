"""Jitter: seeded noise on step times that is a pure function of (seed, replica, stage, number of the step).

Design: every draw is a SplitMix64 hash of the key, never a generator's state, so fast-forwarded steps, single steps and
stages as actors draw the same noise.  A step takes ``duration * (1 + ratio * z)`` with z = (u^3 - 1/4) * sqrt(112) / 3
for uniform u: mean 0, deviation 1, bounded from below by -0.88, skewed to the right as step times are, and made of
multiplications alone, whose bits do not depend on the length of an array.  The bound is what the protocol's floors are
lowered by (``least_factor``), so no draw is ever cut and mean and deviation are the stated ones.
"""

import math
from typing import Final

import numpy as np

from cluster_sim.hardware.batch_shape import Int64Array
from cluster_sim.splitmix64 import splitmix64, splitmix64_array

MEAN: Final = 0.25
"""Of the cube of a uniform."""
DEVIATION: Final = 3.0 / math.sqrt(112.0)
"""Of the cube of a uniform: the root of 1/7 - 1/16."""
UNIT: Final = 2.0**-53


def least_factor(ratio: float) -> float:
    """Return the least factor that noise of a relative deviation ``ratio`` puts on a duration."""
    return 1.0 - MEAN * (ratio / DEVIATION)


class Jitter:
    """The noise of one stage of one replica."""

    def __init__(self, ratio: float, seed: int, replica: int, stage: int) -> None:
        """``ratio`` is the standard deviation over the mean, from 0 (none) to 0.3."""
        self.ratio = ratio
        self._scale = ratio / DEVIATION
        key = splitmix64(seed)
        key = splitmix64(key ^ (replica + 1) * 0xD1B54A32D192ED03)
        self._key = splitmix64(key ^ (stage + 1) * 0x8CB92BA72F3D8DD7)

    def apply(self, durations_ns: Int64Array, first_step: int) -> Int64Array:
        """Return the noisy durations of consecutive steps, int64 of the same length."""
        if self.ratio == 0.0:
            return durations_ns
        steps = np.arange(first_step, first_step + len(durations_ns), dtype=np.uint64)
        bits = splitmix64_array(steps ^ np.uint64(self._key))
        uniforms = (bits >> np.uint64(11)).astype(np.float64) * UNIT
        factors = (uniforms * uniforms * uniforms - MEAN) * self._scale + 1.0
        noisy: Int64Array = np.rint(durations_ns.astype(np.float64) * factors).astype(np.int64)
        return noisy

    def apply_one(self, duration_ns: int, step: int) -> int:
        """Return the noisy duration of one step: what ``apply`` gives for it."""
        if self.ratio == 0.0:
            return duration_ns
        uniform = float(splitmix64(step ^ self._key) >> 11) * UNIT
        return round(float(duration_ns) * ((uniform * uniform * uniform - MEAN) * self._scale + 1.0))
