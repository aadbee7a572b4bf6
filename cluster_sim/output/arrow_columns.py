"""Arrow columns straight from numpy buffers, and numbers straight from columns.

``pyarrow.array``, ``fill_null`` and ``to_numpy`` would do the same but import pandas first, half a second that a short
run would notice.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster_sim.units import NS_PER_S

BoolArray = npt.NDArray[np.bool_]


def number_column(values: npt.NDArray[np.generic], kind: pa.DataType, is_valid: BoolArray | None = None) -> pa.Array:
    """Return ``values`` as a column of the fixed-width type ``kind``, null where ``is_valid`` is False."""
    data = np.ascontiguousarray(values, kind.to_pandas_dtype())
    return pa.Array.from_buffers(kind, len(data), [_validity(is_valid), pa.py_buffer(data)])


def seconds_column(times_ns: npt.NDArray[np.int64], is_valid: BoolArray | None = None) -> pa.Array:
    """Return times in ns as a column of float64 seconds."""
    return number_column(times_ns / NS_PER_S, pa.float64(), is_valid)


def list_column(values: npt.NDArray[np.generic], kind: pa.DataType) -> pa.Array:
    """Return ``values``[rows, length] as a column of lists of that length, of the fixed-width type ``kind``."""
    return pa.FixedSizeListArray.from_arrays(number_column(values.reshape(-1), kind), values.shape[1])


def lists_column(values: npt.NDArray[np.float64], ends: npt.NDArray[np.int64]) -> pa.Array:
    """Return ``values`` as a column of lists of float64, each of which ends before its place in ``ends``."""
    offsets = number_column(np.append(np.zeros(1, np.int64), ends), pa.int32())
    return pa.ListArray.from_arrays(offsets, number_column(values, pa.float64()))


def word_column(codes: npt.NDArray[np.int64], words: Sequence[str]) -> pa.Array:
    """Return indices into ``words`` as a dictionary column of strings, null if the index is negative."""
    encoded = [word.encode() for word in words]
    offsets = np.array([0, *accumulate(map(len, encoded))], np.int32)
    dictionary = pa.StringArray.from_buffers(len(encoded), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded)))
    return pa.DictionaryArray.from_arrays(number_column(codes, pa.int32(), codes >= 0), dictionary)


def numbers_of(column: pa.ChunkedArray | pa.Array, missing: float) -> npt.NDArray[Any]:
    """Return the values of a column of a fixed-width type, ``missing`` where it is null."""
    kind = column.type.to_pandas_dtype()
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    return np.concatenate([np.empty(0, kind), *(_chunk_numbers(chunk, kind, missing) for chunk in chunks)])


def _chunk_numbers(chunk: pa.Array, kind: type, missing: float) -> npt.NDArray[Any]:
    validity, data = chunk.buffers()
    part = slice(chunk.offset, chunk.offset + len(chunk))
    values: npt.NDArray[Any] = np.frombuffer(data, kind)[part] if len(chunk) else np.empty(0, kind)
    if not chunk.null_count:
        return values
    is_valid = np.unpackbits(np.frombuffer(validity, np.uint8), bitorder="little")[part]
    return np.where(is_valid, values, np.array(missing, kind))


def _validity(is_valid: BoolArray | None) -> pa.Buffer | None:
    if is_valid is None or is_valid.all():
        return None
    return pa.py_buffer(np.packbits(is_valid, bitorder="little"))
