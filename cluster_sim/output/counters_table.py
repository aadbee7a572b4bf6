"""``counters.parquet``: the cumulative counters of every replica at the end of the run, one row a replica.

They hold what came after the last tick of ``series.parquet``, too.  ``rank_counters.parquet`` has those of the
data-parallel ranks of every replica that has several, one row a rank in the order of their numbers.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from cluster_sim.errors import InputError
from cluster_sim.metrics.live_figures import FIGURES, WIDTH, figures_row
from cluster_sim.output.arrow_columns import list_column, number_column
from cluster_sim.output.run_identity import RunIdentity
from cluster_sim.recording.replica_counters import ReplicaCounters

Int64Array = npt.NDArray[np.int64]

COUNTERS_FILE: Final = "counters.parquet"
RANK_COUNTERS_FILE: Final = "rank_counters.parquet"
_HISTOGRAMS: Final = "histograms"
"""The figures behind those that have names, in the order of ``metrics.live_figures``."""


def write_counters(path: Path, replicas: Sequence[ReplicaCounters], identity: RunIdentity) -> None:
    """Write the counters of replicas in the order of their numbers; ``identity`` is that of their run."""
    matrix = np.array([figures_row(0, 0, 0, counters) for counters in replicas], np.int64).reshape(-1, WIDTH)
    columns = {name: number_column(matrix[:, index], pa.int64()) for name, index in FIGURES.items()}
    columns[_HISTOGRAMS] = list_column(matrix[:, len(FIGURES) :], pa.int64())
    table = pa.table(columns)
    metadata = identity.added_to(table.schema).metadata
    pq.write_table(table.replace_schema_metadata(metadata), path, compression="zstd")


def read_counters(path: Path) -> Int64Array:
    """Return the counters as rows of ``metrics.live_figures``, int64[replicas, WIDTH].

    Raises InputError if the file is missing or damaged, or of a version with other figures.
    """
    try:
        table = pq.read_table(path)
    except FileNotFoundError as error:
        raise InputError(f"{path.parent}: has no {path.name}; run the study again with this version") from error
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    width = WIDTH - len(FIGURES)
    wanted = {*FIGURES, _HISTOGRAMS}
    if set(table.column_names) != wanted or table.schema.field(_HISTOGRAMS).type.list_size != width:
        raise InputError(f"{path}: is of a version with other figures; run the study again with this version")
    named = np.stack([table.column(name).to_numpy() for name in FIGURES], axis=1)
    histograms = table.column(_HISTOGRAMS).combine_chunks().flatten().to_numpy().reshape(-1, width)
    matrix: Int64Array = np.concatenate([named, histograms], axis=1)
    return matrix
