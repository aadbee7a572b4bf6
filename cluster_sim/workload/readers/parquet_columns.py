"""Checked columns of a Parquet file."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cluster_sim.errors import InputError
from cluster_sim.workload.files.file_access import shown
from cluster_sim.workload.readers.json_rows import Place, instant_ns
from cluster_sim.workload.readers.reader_interface import seconds_to_ns
from cluster_sim.workload.sampling.random_streams import Ints


def refuse_values(path: Path, name: str, row: int, values: Any, wrong: Any) -> None:
    """Raise the InputError that names the first wrong value."""
    bad = np.flatnonzero(wrong)
    if len(bad):
        raise InputError(f"{path}: row {row + int(bad[0])}, column '{name}': {values[bad[0]]} is not allowed")


def whole_column(path: Path, batch: Any, name: str, row: int, least: int, most: int) -> Ints:
    """Return a column of whole numbers within bounds; InputError for anything else."""
    column = batch.column(name)
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise InputError(f"{path}: column '{name}' holds {column.type}, not numbers")
    if column.null_count:
        index = column.is_null().to_pylist().index(True)
        raise InputError(f"{path}: row {row + index}, column '{name}': the value is missing")
    if pa.types.is_floating(column.type):
        floats = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
        refuse_values(path, name, row, floats, ~((floats >= least) & (floats <= most) & (floats == np.floor(floats))))
        return np.asarray(floats, dtype=np.int64)
    values: Ints = column.cast(pa.int64()).to_numpy(zero_copy_only=False)
    refuse_values(path, name, row, values, (values < least) | (values > most))
    return values


def time_column(path: Path, batch: Any, name: str, row: int, unit_s: float) -> tuple[Ints, bool]:
    """Return a column of times as ns, and whether they are dates: of a type of time, or texts of ISO 8601."""
    column = batch.column(name)
    if column.null_count:
        index = column.is_null().to_pylist().index(True)
        raise InputError(f"{path}: row {row + index}, column '{name}': the value is missing")
    if pa.types.is_timestamp(column.type):
        instants: Ints = column.cast(pa.timestamp("ns", column.type.tz)).cast(pa.int64()).to_numpy(zero_copy_only=False)
        return instants, True
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        place = Place(path, "row")
        times = []
        for place.line, text in enumerate(column.to_pylist(), start=row):
            times.append(instant_ns(place, text, name))
        return np.asarray(times, dtype=np.int64), True
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise InputError(f"{path}: column '{name}' holds {shown(column.type)}, neither numbers nor times")
    numbers = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    refuse_values(path, name, row, numbers, ~(np.isfinite(numbers) & (numbers >= 0)))
    return seconds_to_ns(path, numbers, unit_s), False
