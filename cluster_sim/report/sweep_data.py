"""Complete sweeps, read back from their directories for reports."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from cluster_sim.errors import InputError
from cluster_sim.report.configuration_table import short_names
from cluster_sim.study.sweep_directory import FINISHED, RESULTS_FILE

Row = Mapping[str, Any]

_FIRST_RESULT: Final = "status"
"""The first column behind the swept keys."""


@dataclass(frozen=True, slots=True)
class SweepData:
    """The table of one sweep."""

    directory: Path
    keys: tuple[str, ...]
    """The swept keys that take several values."""
    rows: tuple[Row, ...]

    @classmethod
    def read(cls, directory: Path) -> "SweepData":
        """Read the table of a sweep; raises InputError if it cannot be read or is none."""
        path = directory / RESULTS_FILE
        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{path}: cannot be read: {error}") from error
        names = table.column_names
        if "run" not in names or _FIRST_RESULT not in names:
            raise InputError(f"{path}: is not the table of a sweep: it needs the columns run and {_FIRST_RESULT}")
        rows = tuple(table.to_pylist())
        keys = [name for name in names[: names.index(_FIRST_RESULT)] if name != "run"]
        varied = tuple(key for key in keys if len({str(row[key]) for row in rows}) > 1)
        return cls(directory, varied or tuple(keys), rows)

    @property
    def finished(self) -> list[Row]:
        """The runs that finished."""
        return [row for row in self.rows if row[_FIRST_RESULT] == FINISHED]

    def label(self, row: Row) -> str:
        """Return what tells a run from the others."""
        names = short_names(self.keys)
        return ", ".join(f"{name} {self.text(row, key)}" for name, key in zip(names, self.keys, strict=True))

    def text(self, row: Row, key: str) -> str:
        """Return the value of a swept key in words; a block, which the table has as JSON, is its keys and values."""
        value = row[key]
        if isinstance(value, str) and value.startswith(("{", "[")):
            try:
                value = json.loads(value)
            except ValueError:
                return str(value)
        return _words(value)


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_words(part)}" for name, part in value.items()) or "empty"
    if isinstance(value, list):
        return "; ".join(map(_words, value)) or "empty"
    return "none" if value is None else str(value)
