"""Reading measured tables: CSV files, compressed or not, checked row by row."""

import csv
import gzip
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

import numpy as np
import numpy.typing as npt

from cluster_sim.errors import InputError
from cluster_sim.plain_file import check_plain
from cluster_sim.shown_values import MOST_OF_PATH, cut, shortened

MOST: Final = 1e15
"""Counts of tokens and times in us beyond it are damage: a table keeps them as integers of 64 bits."""
Float64Array = npt.NDArray[np.float64]


def open_text(path: Path) -> TextIO:
    """Open a text file, gunzipped if its name ends in ``.gz``; InputError when it is not there."""
    check_plain(path)
    try:
        if path.suffix == ".gz":
            return gzip.open(path, "rt", encoding="utf-8", newline="")
        return path.open("r", encoding="utf-8", newline="")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None


@contextmanager
def wording_csv_errors(path: Path) -> Iterator[None]:
    """Turn what a CSV reader raises for a file that is damaged or no text into an InputError."""
    try:
        yield
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error) as error:
        raise InputError(f"{path}: cannot be read: {cut(str(error), MOST_OF_PATH)}") from None


def find_table(directory: Path, name: str) -> Path | None:
    """Return ``directory/name`` with or without ``.gz``, or None."""
    for candidate in (directory / name, directory / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    return None


def read_numbers(path: Path) -> tuple[list[str], Float64Array]:
    """Read a CSV whose every value is a number: (column names, float64[rows, columns]).

    Raises InputError with the line and column of the first value that is not a finite number.
    """
    with open_text(path) as stream, wording_csv_errors(path):
        header = stream.readline().strip().split(",")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # No rows: said below.
                values: Float64Array = np.loadtxt(stream, delimiter=",", dtype=np.float64, ndmin=2)
        except UnicodeDecodeError:
            raise
        except ValueError as error:
            raise InputError(f"{path}: {cut(str(error), MOST_OF_PATH)}") from None
    if values.shape[0] == 0 or values.shape[1] != len(header):
        raise InputError(f"{path}: has {values.shape[0]} rows of {values.shape[1]} values for {len(header)} columns")
    if not np.isfinite(values).all():
        row, column = (int(index[0]) for index in np.nonzero(~np.isfinite(values)))
        raise InputError(f"{path}:{row + 2}: {header[column]} is not a finite number")
    return header, values


def read_rows(path: Path, required: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line number, row) of a CSV with a header; InputError when a required column is missing."""
    with open_text(path) as stream, wording_csv_errors(path):
        reader = csv.DictReader(stream)
        missing = [column for column in required if column not in (reader.fieldnames or [])]
        if missing:
            has = cut(", ".join(reader.fieldnames or []), MOST_OF_PATH)
            raise InputError(f"{path}: lacks the columns {', '.join(missing)}; has {has}")
        for row in reader:
            yield reader.line_num, row


def number(path: Path, line: int, row: dict[str, str], column: str) -> float:
    """Return one value of a row as a float from 0 to ``MOST``; InputError with file, line and column otherwise."""
    text = row.get(column) or ""
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"{path}:{line}: {column} is {shortened(text)}, not a number") from None
    if not 0 <= value <= MOST:
        raise InputError(f"{path}:{line}: {column} is {cut(text)}, not a number from 0 to {MOST:g}")
    return value
