"""Small tables of measurements: CSV and JSON, compressed or not."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from cluster_sim.calibration.case import FloatArray
from cluster_sim.errors import InputError
from cluster_sim.hardware.predictors.csv_table import open_text, wording_csv_errors
from cluster_sim.plain_file import read_stream
from cluster_sim.shown_values import cut


def read_rows(path: Path, columns: tuple[str, ...], delimiter: str = ",") -> list[dict[str, str]]:
    """Return the rows of a table as dictionaries; InputError names missing columns."""
    with open_text(path) as stream:
        return rows_of(path, stream, columns, delimiter)


def rows_of(path: Path, lines: Iterable[str], columns: tuple[str, ...], delimiter: str = ",") -> list[dict[str, str]]:
    """Return the rows of a table whose text is there, as ``read_rows`` does."""
    with wording_csv_errors(path):
        reader = csv.DictReader(lines, delimiter=delimiter)
        missing = [name for name in columns if name not in (reader.fieldnames or ())]
        if missing:
            found = ", ".join(map(cut, reader.fieldnames or ())) or "none"
            raise InputError(f"{path}: columns missing: {', '.join(missing)}; there are {found}")
        return list(reader)


def column(rows: list[dict[str, str]], name: str) -> FloatArray:
    """Return a column as float64, NaN where it is empty."""
    return np.array([float(row[name]) if row[name] not in {"", "nan"} else np.nan for row in rows], np.float64)


def read_json(path: Path) -> Any:
    """Return the content of a JSON file; InputError if it is none."""
    try:
        with open_text(path) as stream:
            return json.loads(read_stream(path, stream))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}") from None
