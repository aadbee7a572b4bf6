"""Numeric column of a CSV or Parquet file, for empirical distributions."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from cluster_sim.errors import InputError
from cluster_sim.workload.files.csv_file import CsvColumn, read_csv
from cluster_sim.workload.files.file_access import compression_of, one_line, shown_names
from cluster_sim.workload.sampling.random_streams import Floats


def read_number_column(path: Path, column: str) -> Floats:
    """Return a column of finite numbers of at least 0; InputError for a missing file, column or wrong value."""
    if path.suffix != ".parquet":
        blocks = [block["value"] for block in read_csv(path, {"value": CsvColumn((column,), "number")})]
        return np.concatenate(blocks)
    compression_of(path)
    try:
        file = pyarrow.parquet.ParquetFile(path)
        if column not in file.schema_arrow.names:
            raise InputError(f"{path}: no column '{column}'; the file has: {shown_names(file.schema_arrow.names)}")
        values: Floats = file.read([column]).column(0).cast(pa.float64()).to_numpy()
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise InputError(f"{path}: not a readable Parquet file ({one_line(error)})") from None
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if len(wrong):
        row = int(wrong[0])
        raise InputError(f"{path}: row {row}, column '{column}': {values[row]} is not a finite number of at least 0")
    if not len(values):
        raise InputError(f"{path}: no rows")
    return values
