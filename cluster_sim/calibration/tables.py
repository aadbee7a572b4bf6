"""Reading the small tables that measurements come in: CSV, JSON lines, JSON; gzip where the name says so."""

import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from cluster_sim.calibration.case import FloatArray
from cluster_sim.errors import InputError


def open_text(path: Path) -> IO[str]:
    """Open a text file, compressed or not."""
    if path.suffix == ".gz":
        return cast("IO[str]", gzip.open(path, "rt", encoding="utf-8", newline=""))
    return path.open(encoding="utf-8", newline="")


def read_rows(path: Path, columns: tuple[str, ...], delimiter: str = ",") -> list[dict[str, str]]:
    """Return the rows of a table as dictionaries; InputError names missing columns."""
    with open_text(path) as stream:
        reader = csv.DictReader(stream, delimiter=delimiter)
        missing = [name for name in columns if name not in (reader.fieldnames or ())]
        if missing:
            raise InputError(f"{path}: columns missing: {', '.join(missing)}; there are {reader.fieldnames}")
        return list(reader)


def column(rows: list[dict[str, str]], name: str) -> FloatArray:
    """Return a column as float64, NaN where it is empty."""
    return np.array([float(row[name]) if row[name] not in {"", "nan"} else np.nan for row in rows], np.float64)


def read_json(path: Path) -> Any:
    """Return the content of a JSON file; InputError where it is none."""
    try:
        with open_text(path) as stream:
            return json.load(stream)
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from None


def read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file with one JSON object a line."""
    with open_text(path) as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                yield json.loads(line)
            except ValueError as error:
                raise InputError(f"{path}:{number}: not JSON: {error}") from None
