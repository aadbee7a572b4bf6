"""``series.parquet``: the state of every replica on a fixed grid of simulated time."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from cluster_sim.output.arrow_columns import list_column, number_column, seconds_column, word_column
from cluster_sim.recording.buckets import ITERATION_TOKENS, TOKEN_GAP_S
from cluster_sim.recording.replica_log import STATE_COLUMNS, STEP_COLUMNS

Int64Array = npt.NDArray[np.int64]

SERIES_SCHEMA: Final = pa.schema(
    [
        pa.field("time_s", pa.float64(), nullable=False),
        ("pool", pa.dictionary(pa.int32(), pa.string())),
        ("replica", pa.int32()),
        ("running", pa.int32()),
        ("waiting", pa.int32()),
        ("kv_used_blocks", pa.int64()),
        ("kv_used_ratio", pa.float64()),
        ("iterations", pa.int64()),
        ("prompt_tokens", pa.int64()),
        ("generated_tokens", pa.int64()),
        ("itl_sum_s", pa.float64()),
        ("itl_counts", pa.list_(pa.int64(), len(TOKEN_GAP_S) + 1)),
        ("iteration_tokens_counts", pa.list_(pa.int64(), len(ITERATION_TOKENS) + 1)),
    ]
)
"""The columns; from ``iterations`` on they sum over the iterations that ended in the interval up to ``time_s``."""

GROUP_ROWS: Final = 65_536
"""Rows gathered before they are written as one row group."""


class SeriesTable:
    """Writes the replicas' series to a Parquet file; rows of one replica are in order of time.

    ``pools`` names the pools, ``pool_of_replica`` and ``kv_blocks`` give every replica's pool and KV cache size.
    ``max_waiting`` is the largest number of requests waiting at one replica at any tick.
    """

    def __init__(
        self, path: Path, pools: Sequence[str], pool_of_replica: Sequence[int], kv_blocks: Sequence[int]
    ) -> None:
        self.max_waiting = 0
        self._pools = tuple(pools)
        self._pool_of_replica = np.array(pool_of_replica, np.int64)
        self._kv_blocks = np.array(kv_blocks, np.int64)
        self._held: list[dict[str, Int64Array]] = []
        self._held_rows = 0
        self._writer = pq.ParquetWriter(
            path, SERIES_SCHEMA, compression="zstd", compression_level=1, use_dictionary=["pool"]
        )

    def add(self, replica: int, columns: Mapping[str, Int64Array]) -> None:
        """Append what ``ReplicaLog.take_series`` of ``replica`` returned."""
        rows = len(columns["time_ns"])
        if not rows:
            return
        self.max_waiting = max(self.max_waiting, int(columns["waiting"].max()))
        self._held.append({"replica": np.full(rows, replica), **columns})
        self._held_rows += rows
        if self._held_rows >= GROUP_ROWS:
            self._write()

    def close(self) -> None:
        """Complete the file; without this it cannot be read."""
        self._write()
        self._writer.close()

    def _write(self) -> None:
        if not self._held_rows:
            return
        names = ("replica", *STATE_COLUMNS, *STEP_COLUMNS)
        columns = {name: np.concatenate([held[name] for held in self._held]) for name in names}
        self._held, self._held_rows = [], 0
        replica = columns["replica"]
        kv_used_ratio = columns["kv_used_blocks"] / np.maximum(self._kv_blocks[replica], 1)
        arrays = {
            "time_s": seconds_column(columns["time_ns"]),
            "pool": word_column(self._pool_of_replica[replica], self._pools),
            "kv_used_ratio": number_column(kv_used_ratio, pa.float64()),
            "itl_sum_s": seconds_column(columns["itl_sum_ns"]),
            **{name: list_column(columns[name], pa.int64()) for name in ("itl_counts", "iteration_tokens_counts")},
        }
        for field in SERIES_SCHEMA:
            if field.name not in arrays:
                arrays[field.name] = number_column(columns[field.name], field.type)
        batch = pa.record_batch([arrays[name] for name in SERIES_SCHEMA.names], schema=SERIES_SCHEMA)
        self._writer.write_batch(batch, row_group_size=batch.num_rows)
