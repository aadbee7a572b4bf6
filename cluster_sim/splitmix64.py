"""SplitMix64: 64 well-mixed bits from a 64-bit state, on integers and on arrays.

Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014: output number i of a generator
seeded with s is ``splitmix64(s + i * GAMMA)``, so a draw is a pure function of key and counter.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

UInt64Array = npt.NDArray[np.uint64]

GAMMA: Final = 0x9E3779B97F4A7C15
"""What the generator adds to its state for each output."""
MASK: Final = (1 << 64) - 1

_FIRST: Final = 0xBF58476D1CE4E5B9
_SECOND: Final = 0x94D049BB133111EB


def splitmix64(state: int) -> int:
    """Return the output that follows ``state``, of which the lowest 64 bits count."""
    word = (state + GAMMA) & MASK
    word = (word ^ word >> 30) * _FIRST & MASK
    word = (word ^ word >> 27) * _SECOND & MASK
    return word ^ word >> 31


def splitmix64_array(states: UInt64Array) -> UInt64Array:
    """Return ``splitmix64`` of every element; unsigned arithmetic wraps."""
    words = states + np.uint64(GAMMA)
    words = (words ^ words >> np.uint64(30)) * np.uint64(_FIRST)
    words = (words ^ words >> np.uint64(27)) * np.uint64(_SECOND)
    result: UInt64Array = words ^ words >> np.uint64(31)
    return result
