"""Empirical values from files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster_sim.errors import InputError
from cluster_sim.workload.files.column_file import read_number_column


def test_csv_and_parquet_columns(trace_file: Callable[..., str], tmp_path: Path) -> None:
    """A column is found by name in either kind of file, compressed or not."""
    assert read_number_column(Path(trace_file("a,b\n1,2\n3,4.5\n")), "b").tolist() == [2.0, 4.5]
    assert read_number_column(Path(trace_file("a,b\n1,2\n", "x.csv.gz")), "a").tolist() == [1.0]
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"n": [5, 6]}), path)
    assert read_number_column(path, "n").tolist() == [5.0, 6.0]


def test_wrong_columns_are_refused(trace_file: Callable[..., str], tmp_path: Path) -> None:
    """A missing column lists those there are; a bad value is located."""
    with pytest.raises(InputError, match=r"no column 'c'; the file has: a, b"):
        read_number_column(Path(trace_file("a,b\n1,2\n")), "c")
    with pytest.raises(InputError, match=r"line 3, column 'a': '-4' is less than 0"):
        read_number_column(Path(trace_file("a\n1\n-4\n")), "a")
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"n": [5.0, np.nan]}), path)
    with pytest.raises(InputError, match="row 1, column 'n'"):
        read_number_column(path, "n")
    with pytest.raises(InputError, match="no column 'm'"):
        read_number_column(path, "m")
    path.write_bytes(b"PAR1 is all there is")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        read_number_column(path, "n")
