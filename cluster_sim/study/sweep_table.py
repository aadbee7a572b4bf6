"""Table of a sweep: one row per run, whatever mixture of values the grid holds."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cluster_sim.atomic_file import whole_file
from cluster_sim.errors import UnfinishedError

SCALARS = (bool, int, float, str)


def write_rows(rows: list[dict[str, Any]], path: Path) -> None:
    """Write ``results.parquet``, whole or not at all; raises UnfinishedError if it cannot be written.

    The columns are the keys of all rows in the order in which they first appear; a row without one has null.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = pa.table({name: _column([row.get(name) for row in rows]) for name in names})
    with whole_file(path, UnfinishedError) as partial:
        pq.write_table(table, partial)


def write_csv(rows: list[dict[str, Any]], path: Path) -> None:
    """Write the same table as CSV, whole or not at all; a value that a row has not is empty, a block is JSON."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with whole_file(path, UnfinishedError) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows([_cell(row.get(name)) for name in names] for row in rows)


def _cell(value: Any) -> Any:
    return value if value is None or isinstance(value, SCALARS) else json.dumps(value, sort_keys=True)


def _column(values: list[Any]) -> pa.Array:
    """Return the values in one type: their own, double where whole and broken numbers mix, else their JSON text."""
    types = {type(value) for value in values if value is not None}
    if types == {int, float}:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    if len(types) == 1 and types <= set(SCALARS):
        return pa.array(values)
    if not types:
        return pa.array(values, pa.string())
    return pa.array([None if value is None else json.dumps(value, sort_keys=True) for value in values], pa.string())
