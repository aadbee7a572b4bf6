"""``series.parquet``: the state of every replica on a fixed grid of simulated time, one replica after the other."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from cluster_sim.output.arrow_columns import list_column, number_column, seconds_column, word_column
from cluster_sim.output.chunk_store import ChunkStore
from cluster_sim.output.idle_rows import IdleReplicas
from cluster_sim.output.part_files import PartFiles
from cluster_sim.output.run_identity import UNKNOWN
from cluster_sim.recording.buckets import ITERATION_TOKENS, TOKEN_GAP_S, TTFT_GRID_S
from cluster_sim.recording.series_columns import (
    EVENT_COLUMNS,
    FIRST_TOKEN_COLUMNS,
    RANKS_LIMIT,
    STATE_COLUMNS,
    STEP_COLUMNS,
)

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
        *((name, pa.int64()) for name in EVENT_COLUMNS),
        ("prefills", pa.int64()),
        ("prefilled_tokens", pa.int64()),
        ("prefilled_cached_tokens", pa.int64()),
        ("prefilled_external_tokens", pa.int64()),
        ("ttft_sum_s", pa.float64()),
        ("ttft_counts", pa.list_(pa.int64(), len(TTFT_GRID_S) + 1)),
    ]
)
"""The columns; from ``iterations`` on they sum over what happened in the interval up to ``time_s``: the iterations that
ended, the schedules, and the first tokens that came."""

RANK_SCHEMA: Final = pa.schema(
    [
        *(SERIES_SCHEMA.field(name) for name in ("time_s", "pool", "replica")),
        ("rank", pa.int32()),
        *(field for field in SERIES_SCHEMA if field.name not in ("time_s", "pool", "replica", "kv_used_ratio")),
    ]
)
"""The columns of ``rank_series.parquet``: the same of every data-parallel rank, where replicas have several."""

PART_SCHEMA: Final = pa.schema(
    [*SERIES_SCHEMA, *((name, pa.int64()) for name in ("time_ns", "itl_sum_ns", "ttft_sum_ns"))]
)
"""Columns of the parts that are written while a run goes on: also the times as they were recorded; ``replica`` is the
key of a series, which those of ranks have, too."""

RANK_SERIES_FILE: Final = "rank_series.parquet"
GROUP_ROWS: Final = 16_384
"""Rows of a row group."""

_WIDTHS: Final = {
    "itl_counts": len(TOKEN_GAP_S) + 1,
    "iteration_tokens_counts": len(ITERATION_TOKENS) + 1,
    "ttft_counts": len(TTFT_GRID_S) + 1,
}
"""Integers of the columns that hold several."""
_COLUMNS: Final = (*STATE_COLUMNS, *EVENT_COLUMNS, *STEP_COLUMNS, *FIRST_TOKEN_COLUMNS)
_ENDS: Final = np.cumsum([_WIDTHS.get(name, 1) for name in _COLUMNS]).tolist()
"""Where each of ``_COLUMNS`` ends when they stand side by side."""


class SeriesTable:
    """Writes the replicas' series to a Parquet file: one replica after the other, its rows in the order of time.

    Everything waits until the end, because executors deliver the replicas' series in orders of their own.
    ``pools`` names the pools, ``pool_of_replica`` and ``kv_blocks`` give every replica's pool and KV cache size.
    ``max_waiting`` is the largest number of requests waiting at one replica at any tick.  ``identity`` is that of the
    run, as far as it is known when the table is closed.
    """

    def __init__(
        self, path: Path, pools: Sequence[str], pool_of_replica: Sequence[int], kv_blocks: Sequence[int]
    ) -> None:
        self.max_waiting = 0
        self.identity = UNKNOWN
        self._pools = tuple(pools)
        self._pool_of_replica = np.array(pool_of_replica, np.int64)
        self._kv_blocks = np.array(kv_blocks, np.int64)
        self._waiting = ChunkStore(path.parent, _ENDS[-1])
        self._idle = IdleReplicas()
        self._path = path
        self._parts = PartFiles(path)
        self._part: pq.ParquetWriter | None = None
        self._unsaved: list[tuple[int, Int64Array]] = []
        """(replica, rows) that no part has yet."""
        self._unsaved_rows = 0

    def add(self, replica: int, columns: Mapping[str, Int64Array]) -> None:
        """Append a part of ``ReplicaLog.take_all_series`` by its key."""
        rows = len(columns["time_ns"])
        if not rows:
            return
        if replica >= 0:
            self.max_waiting = max(self.max_waiting, int(columns["waiting"].max()))
        added = np.concatenate([columns[name].reshape(rows, -1) for name in _COLUMNS], axis=1)
        self._waiting.put(replica, added)
        self._unsaved.append((replica, added))
        self._unsaved_rows += rows
        if self._unsaved_rows >= GROUP_ROWS:
            self._save()

    def end_part(self) -> tuple[str, ...]:
        """Complete a part with the rows that no earlier one has, in the order of their delivery; return the hashes of
        all parts.
        """
        self._save()
        if self._part is not None:
            self._part.close()
            self._part = None
            self._parts.seal()
        return tuple(self._parts.digests)

    def replay(self, parts: Sequence[str]) -> Iterator[tuple[int, dict[str, Int64Array]]]:
        """Yield, for ``add``, what an earlier process had added when the parts with these hashes were complete, and go
        on there.

        Raises InputError if one of the parts is missing or damaged.
        """
        self._parts.keep(parts)
        for path in self._parts.paths:
            yield from _rows_of(path)
        self._forget_unsaved()

    def remove_parts(self) -> None:
        """Remove the parts of a run that is complete."""
        self._parts.remove()

    def _save(self) -> None:
        if not self._unsaved:
            return
        rows = np.concatenate([np.insert(added, 0, replica, axis=1) for replica, added in self._unsaved])
        self._forget_unsaved()
        if self._part is None:
            self._part = _writer(self._parts.begin(), PART_SCHEMA)
        batch = self._batch(rows, PART_SCHEMA)
        self._part.write_batch(batch, row_group_size=batch.num_rows)

    def _forget_unsaved(self) -> None:
        self._unsaved.clear()
        self._unsaved_rows = 0

    def add_replicas(self, pools: Sequence[int], kv_blocks: Sequence[int]) -> None:
        """Take in replicas that have joined during the run: their pools and KV cache sizes by number."""
        self._pool_of_replica = np.concatenate([self._pool_of_replica, np.array(pools, np.int64)])
        self._kv_blocks = np.concatenate([self._kv_blocks, np.array(kv_blocks, np.int64)])

    def note_idle(self, interval_ns: int, ticks: int) -> None:
        """Take in that the run has so many ticks, all of which replicas without rows have had."""
        with_rows = set(self._waiting.keys())
        pools = self._pool_of_replica.tolist()
        without = [(self._pools[pool], replica) for replica, pool in enumerate(pools) if replica not in with_rows]
        self._idle = IdleReplicas.of(interval_ns, ticks, without)

    def close(self) -> None:
        """Write everything to the file, which is not there before."""
        keys = self._waiting.keys()
        schema = SERIES_SCHEMA.with_metadata(self._idle.to_metadata())
        self._write_file(self._path, self.identity.added_to(schema), [key for key in keys if key >= 0])
        ranks = [key for key in reversed(keys) if key < 0]
        if ranks:
            self._write_file(self._path.with_name(RANK_SERIES_FILE), self.identity.added_to(RANK_SCHEMA), ranks)
        self._waiting.close()

    def _write_file(self, path: Path, schema: pa.Schema, keys: Sequence[int]) -> None:
        """Write the series with these keys, in this order."""
        held: list[Int64Array] = []
        with _writer(path, schema) as writer:
            for key in keys:
                for rows in self._waiting.take_in_parts(key):
                    held.append(np.insert(rows, 0, key, axis=1))
                    if sum(map(len, held)) >= GROUP_ROWS:
                        held = [self._write(writer, np.concatenate(held))]
            if held:
                self._write(writer, np.concatenate(held), keeps_rest=False)

    def _write(self, writer: pq.ParquetWriter, rows: Int64Array, *, keeps_rest: bool = True) -> Int64Array:
        """Write whole row groups of rows that begin with their key; return what is left."""
        most = len(rows) // GROUP_ROWS * GROUP_ROWS if keeps_rest else len(rows)
        for first in range(0, most, GROUP_ROWS):
            batch = self._batch(rows[first : min(first + GROUP_ROWS, most)], writer.schema)
            writer.write_batch(batch, row_group_size=batch.num_rows)
        return rows[most:]

    def _batch(self, rows: Int64Array, schema: pa.Schema) -> pa.RecordBatch:
        """Return rows that begin with their key as a batch; the pool is null where it is not known yet."""
        key = rows[:, 0]
        replica = np.where(key >= 0, key, (-1 - key) // RANKS_LIMIT)
        columns = {"replica": key if schema is PART_SCHEMA else replica, "rank": (-1 - key) % RANKS_LIMIT}
        for name, end in zip(_COLUMNS, _ENDS, strict=True):
            width = _WIDTHS.get(name)
            columns[name] = rows[:, end] if width is None else rows[:, end + 1 - width : end + 1]
        columns = {name: np.ascontiguousarray(values) for name, values in columns.items()}
        is_known = replica < len(self._pool_of_replica)
        known = np.where(is_known, replica, 0)
        kv_used_ratio = columns["kv_used_blocks"] / np.maximum(self._kv_blocks[known], 1)
        arrays = {
            "time_s": seconds_column(columns["time_ns"]),
            "pool": word_column(np.where(is_known, self._pool_of_replica[known], -1), self._pools),
            "kv_used_ratio": number_column(kv_used_ratio, pa.float64(), is_known),
            "itl_sum_s": seconds_column(columns["itl_sum_ns"]),
            "ttft_sum_s": seconds_column(columns["ttft_sum_ns"]),
            **{name: list_column(columns[name], pa.int64()) for name in _WIDTHS},
        }
        for field in schema:
            if field.name not in arrays:
                arrays[field.name] = number_column(columns[field.name], field.type)
        return pa.record_batch([arrays[name] for name in schema.names], schema=schema)


def _writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(path, schema, compression="zstd", compression_level=1, use_dictionary=["pool"])


def _rows_of(path: Path) -> Iterator[tuple[int, dict[str, Int64Array]]]:
    """Yield the rows of a part, one row group after the other."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            yield from _columns_of(file.read_row_group(group))


def _columns_of(table: pa.Table) -> Iterator[tuple[int, dict[str, Int64Array]]]:
    """Yield the rows of a part by replica as ``ReplicaLog.take_series`` returns them."""
    replicas = table.column("replica").to_numpy()
    columns: dict[str, Int64Array] = {}
    for name in _COLUMNS:
        column = table.column(name)
        width = _WIDTHS.get(name)
        if width is not None:
            column = column.combine_chunks().flatten()
        values = column.to_numpy(zero_copy_only=False) if width is not None else column.to_numpy()
        columns[name] = values.astype(np.int64).reshape((-1,) if width is None else (-1, width))
    for replica in np.unique(replicas).tolist():
        chosen = replicas == replica
        yield replica, {name: values[chosen] for name, values in columns.items()}
