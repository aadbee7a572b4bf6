"""Rows of ``requests.parquet`` as the blocks that they were written from, one row group after the other."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from cluster_sim.errors import InputError
from cluster_sim.output.arrow_columns import numbers_of
from cluster_sim.recording.reasons import REASONS
from cluster_sim.recording.rows import FIELD, FLEET_FIELDS, LATER_FIELDS, ROW_FIELDS, RowBlock
from cluster_sim.recording.statuses import STATUSES
from cluster_sim.shown_values import counted
from cluster_sim.units import NS_PER_S

Int64Array = npt.NDArray[np.int64]

_WORDS: Final = ("tenant", "model", "pool", "status", "reason", "slo_class")


def read_blocks(path: Path, pools: Sequence[str], fields: Sequence[str] = ROW_FIELDS) -> Iterator[RowBlock]:
    """Yield the rows of a table of requests; ``pools`` names the pools in their order.

    ``fields`` are those of ``ROW_FIELDS`` that are needed; the others are 0, or null where fleets alone have a use for
    them.  So are those of ``LATER_FIELDS`` that the table of an earlier release has not.
    """
    with pq.ParquetFile(path) as file:
        fields = _present(file, fields)
        columns = [_column(name) for name in fields]
        for group in range(file.num_row_groups):
            yield _block(file.read_row_group(group, columns), pools, fields)


def check_row_count(path: Path, rows: int, summary: Mapping[str, Any]) -> None:
    """Raise InputError if a table has not the requests that the run's summary counts: it is of another run."""
    whole = summary.get("whole_run") or summary
    counts = whole.get("requests") if isinstance(whole, Mapping) else None
    total = counts.get("total") if isinstance(counts, dict) else None
    if isinstance(total, int) and total != rows:
        raise InputError(
            f"{path}: has {counted(rows, 'request')}, but summary.json beside it counts {total:,}: they are not of one "
            "run"
        )


def check_latencies(path: Path, summary: Mapping[str, Any]) -> None:
    """Raise InputError if the end-to-end times of a table are not those of the run's summary: it is of another run.

    Number, shortest and longest are compared, which a summary has exactly.  One column is read.  A table or a summary
    that lacks them, as those of earlier releases may, is left to other checks.
    """
    whole = summary.get("whole_run")
    known = whole.get("e2e_s") if isinstance(whole, Mapping) else None
    if not isinstance(known, dict) or "e2e_s" not in pq.read_schema(path).names:
        return
    import pyarrow.compute as pc  # Takes 15 ms, which a run that only writes its table goes without.

    column = pq.read_table(path, columns=["e2e_s"]).column(0)
    bounds = pc.min_max(column)
    found = (len(column) - column.null_count, *(_in_ns(bounds[name].as_py()) for name in ("min", "max")))
    expected = (known.get("count"), *(_in_ns(known.get(name)) for name in ("min", "max")))
    if found != expected:
        raise InputError(
            f"{path}: its end-to-end times are not those of summary.json beside it (longest {_shown_s(found[2])}, "
            f"there {_shown_s(expected[2])}): they are not of one run"
        )


def _in_ns(seconds: Any) -> int | None:
    is_time = isinstance(seconds, int | float) and math.isfinite(seconds)
    return round(seconds * NS_PER_S) if is_time else None


def _shown_s(time_ns: int | None) -> str:
    return "none" if time_ns is None else f"{time_ns / NS_PER_S:.9g} s"


def read_rows(path: Path, pools: Sequence[str]) -> RowBlock:
    """Return all rows of a table of requests as one block; ``pools`` names the pools in their order."""
    with pq.ParquetFile(path) as file:
        fields = _present(file, ROW_FIELDS)
        return _block(file.read([_column(name) for name in fields]).unify_dictionaries(), pools, fields)


def read_arrivals(path: Path) -> Int64Array:
    """Return the arrivals of all requests in ns, sorted."""
    arrivals = numbers_of(pq.read_table(path, columns=["arrival_s"]).column(0), np.nan)
    return np.sort(_nanoseconds(arrivals))


def repeated_ids(path: Path) -> int:
    """Return how many rows of a table of requests have the id of a row before; the table is in the order of ids."""
    last, repeated = np.full(1, -1, np.int64), 0
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            ids = np.append(last, numbers_of(file.read_row_group(group, ["request_id"]).column(0), -1))
            repeated += int(np.count_nonzero(np.diff(ids) <= 0))
            last = ids[-1:]
    return repeated


def _present(file: pq.ParquetFile, fields: Sequence[str]) -> list[str]:
    """Return the fields without those that the table of an earlier release has not."""
    missing = {name for name in LATER_FIELDS if _column(name) not in file.schema_arrow.names}
    return [name for name in fields if name not in missing]


def _column(field: str) -> str:
    """Return the column that holds a field."""
    return f"{field.removesuffix('_ns')}_s" if field.endswith("_ns") else field


def _block(table: pa.Table, pools: Sequence[str], fields: Sequence[str]) -> RowBlock:
    rows = np.zeros((len(table), len(ROW_FIELDS)), np.int64)
    rows[:, FIELD[FLEET_FIELDS[0]] :] = -1
    known = {"pool": pools, "status": STATUSES, "reason": REASONS}
    words: dict[str, Sequence[str]] = dict.fromkeys(_WORDS, ())
    for name in fields:
        column = rows[:, FIELD[name]]
        if name in _WORDS:
            column[:], words[name] = _codes(table.column(name), known.get(name))
        elif name.endswith("_ns"):
            column[:] = _nanoseconds(numbers_of(table.column(_column(name)), np.nan))
        else:
            column[:] = numbers_of(table.column(name), -1)
    reason = rows[:, FIELD["reason"]]
    reason[reason < 0] = 0
    return RowBlock(rows, words["tenant"], words["model"], pools, words["slo_class"])


def _codes(column: pa.ChunkedArray, known: Sequence[str] | None) -> tuple[Int64Array, Sequence[str]]:
    """Return the words of a column as indices into ``known``, or into their own list, -1 for null; and that list."""
    array = column.combine_chunks()
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    own = array.dictionary.to_pylist()
    codes = numbers_of(array.indices, -1).astype(np.int64)
    if known is None:
        return codes, own
    places = np.array([*(known.index(word) for word in own), -1], np.int64)
    return places[codes], known


def _nanoseconds(seconds: npt.NDArray[np.float64]) -> Int64Array:
    """Return times in ns, -1 for null; exact for 50 simulated days."""
    is_known = ~np.isnan(seconds)
    times = np.full(len(seconds), -1, np.int64)
    times[is_known] = np.rint(seconds[is_known] * NS_PER_S).astype(np.int64)
    return times
