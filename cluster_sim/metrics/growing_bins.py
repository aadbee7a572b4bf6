"""Arrays of bins that a run fills: lengthened when it goes on, joined in pairs when there are too many."""

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]


def padded(bins: Int64Array, length: int, fill: int = 0) -> Int64Array:
    """Return bins lengthened with ``fill`` to ``length``, as they are if they are that long."""
    if length <= len(bins):
        return bins
    return np.concatenate([bins, np.full(length - len(bins), fill, np.int64)])


def in_pairs(bins: Int64Array, fill: int = 0) -> Int64Array:
    """Return bins two by two, int64[pairs, 2]; a last one alone is paired with ``fill``."""
    return padded(bins, len(bins) + len(bins) % 2, fill).reshape(-1, 2)
