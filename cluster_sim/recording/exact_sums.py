"""Sums of integers that leave 64 bits, or the 53 that a float holds: ns over many requests of an overloaded fleet do.

A value's two halves of 32 bits are summed apart, which numpy does exactly for up to 2**21 values at once.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]

_HALF: Final = 32
_LOW: Final = (1 << _HALF) - 1


def exact_sum(values: Int64Array) -> int:
    """Return the sum of ``values`` >= 0."""
    return (int((values >> _HALF).sum()) << _HALF) + int((values & _LOW).sum())


def sums_by_group(groups: npt.NDArray[np.integer], values: Int64Array, count: int) -> tuple[Int64Array, Int64Array]:
    """Return the sums of ``values`` >= 0 by group as int64[count] each: the high half in 2**32, and the low half.

    ``groups`` names each value's group, from 0 to ``count`` - 1.
    """
    high = np.bincount(groups, values >> _HALF, count).astype(np.int64)
    return high, np.bincount(groups, values & _LOW, count).astype(np.int64)
