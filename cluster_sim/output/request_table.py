"""``requests.parquet``: one row per request in the order of their ids, streamed in row groups as the run goes on."""

from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cluster_sim.metrics.latencies import latencies_ns
from cluster_sim.output.arrow_columns import lists_column, number_column, seconds_column, word_column
from cluster_sim.output.chunk_store import ChunkStore
from cluster_sim.output.part_files import PartFiles
from cluster_sim.output.run_identity import UNKNOWN, RunIdentity
from cluster_sim.recording.reasons import REASONS
from cluster_sim.recording.rows import FIELD, LATER_FIELDS, NO_GAPS, ROW_FIELDS, RowBlock
from cluster_sim.recording.statuses import FINISHED, STATUSES
from cluster_sim.units import NS_PER_S

GROUP_ROWS: Final = 16_384
"""Request ids of a row group."""

_WORD: Final = pa.dictionary(pa.int32(), pa.string())

REQUEST_SCHEMA: Final = pa.schema(
    [
        pa.field("request_id", pa.int64(), nullable=False),
        ("session_id", pa.int64()),
        ("tenant", _WORD),
        ("model", _WORD),
        ("pool", _WORD),
        ("replica", pa.int32()),
        ("status", _WORD),
        ("reason", _WORD),
        ("arrival_s", pa.float64()),
        ("dispatch_s", pa.float64()),
        ("scheduled_s", pa.float64()),
        ("first_token_s", pa.float64()),
        ("finish_s", pa.float64()),
        ("prompt_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        ("cached_tokens", pa.int64()),
        ("preemptions", pa.int32()),
        ("retries", pa.int32()),
        ("generated_tokens", pa.int64()),
        ("ttft_s", pa.float64()),
        ("tpot_s", pa.float64()),
        ("e2e_s", pa.float64()),
        ("queue_s", pa.float64()),
        ("prefill_s", pa.float64()),
        ("decode_s", pa.float64()),
        ("priority", pa.int64()),
        ("slo_class", _WORD),
        ("prefill_replica", pa.int32()),
        ("transfer_start_s", pa.float64()),
        ("transfer_s", pa.float64()),
        ("transfer_bytes", pa.int64()),
        ("attempts", pa.int32()),
        ("first_dispatch_s", pa.float64()),
        ("prefilled_s", pa.float64()),
        ("preempted_s", pa.float64()),
        ("restarted_s", pa.float64()),
        ("interrupted_s", pa.float64()),
        ("encode_start_s", pa.float64()),
        ("encoded_s", pa.float64()),
        ("rank", pa.int32()),
        ("preemption_starts_s", pa.list_(pa.float64())),
        ("preemption_ends_s", pa.list_(pa.float64())),
    ]
)
"""The columns; docs/results.md says what each means and when it is null."""

_WORD_COLUMNS: Final = ["tenant", "model", "pool", "status", "reason", "slo_class"]
_FLOAT_COLUMNS: Final = [field.name for field in REQUEST_SCHEMA if field.type == pa.float64()]
_TOKEN_COLUMNS: Final = ("prompt_tokens", "output_tokens", "cached_tokens", "generated_tokens")
_FINISHED_CODE: Final = STATUSES.index(FINISHED)


def request_batch(block: RowBlock) -> pa.RecordBatch:
    """Return the block, whose rows are in the order of ids, as a record batch of ``REQUEST_SCHEMA``."""
    dispatch, scheduled = block.column("dispatch_ns"), block.column("scheduled_ns")
    first, finish = block.column("first_token_ns"), block.column("finish_ns")
    output = block.column("output_tokens")
    latencies = latencies_ns(block)
    is_finished = block.column("status") == _FINISHED_CODE
    has_first = first >= 0
    several = is_finished & (output > 1)
    later = {name: (block.column(name), block.column(name) >= 0) for name in LATER_FIELDS}
    arrays = {
        "request_id": number_column(block.column("request_id"), pa.int64()),
        "session_id": number_column(block.column("session_id"), pa.int64(), block.column("session_id") >= 0),
        "tenant": word_column(block.column("tenant"), block.tenants),
        "model": word_column(block.column("model"), block.models),
        "pool": word_column(block.column("pool"), block.pools),
        "replica": number_column(block.column("replica"), pa.int32(), block.column("replica") >= 0),
        "status": word_column(block.column("status"), STATUSES),
        "reason": word_column(block.column("reason") - 1, REASONS[1:]),
        **{name: number_column(block.column(name), pa.int64()) for name in _TOKEN_COLUMNS},
        "preemptions": number_column(block.column("preemptions"), pa.int32()),
        "retries": number_column(block.column("retries"), pa.int32()),
        "priority": number_column(block.column("priority"), pa.int64()),
        "slo_class": word_column(block.column("slo_class"), block.slo_classes),
        "arrival_s": seconds_column(block.column("arrival_ns")),
        "dispatch_s": seconds_column(dispatch, dispatch >= 0),
        "scheduled_s": seconds_column(scheduled, scheduled >= 0),
        "first_token_s": seconds_column(first, has_first),
        "finish_s": seconds_column(finish, finish >= 0),
        "ttft_s": seconds_column(latencies.ttft, has_first),
        "tpot_s": number_column(latencies.decode / np.maximum(output - 1, 1) / NS_PER_S, pa.float64(), several),
        "e2e_s": seconds_column(latencies.e2e, is_finished),
        "queue_s": seconds_column(latencies.queue, scheduled >= 0),
        "prefill_s": seconds_column(latencies.prefill, has_first),
        "decode_s": seconds_column(latencies.decode, is_finished),
        "prefill_replica": number_column(later["prefill_replica"][0], pa.int32(), later["prefill_replica"][1]),
        "transfer_bytes": number_column(later["transfer_bytes"][0], pa.int64(), later["transfer_bytes"][1]),
        "attempts": number_column(later["attempts"][0], pa.int32(), later["attempts"][1]),
        "rank": number_column(later["rank"][0], pa.int32(), later["rank"][1]),
        **{
            f"{name.removesuffix('_ns')}_s": seconds_column(*values)
            for name, values in later.items()
            if name.endswith("_ns")
        },
        **_gap_columns(block),
    }
    return pa.record_batch([arrays[name] for name in REQUEST_SCHEMA.names], schema=REQUEST_SCHEMA)


def _gap_columns(block: RowBlock) -> dict[str, pa.Array]:
    """Return the starts and ends of what preemptions took, a list each a row; rows are in the order of ids."""
    gaps = block.gaps[np.lexsort((block.gaps[:, 1], block.gaps[:, 0]))]
    ends = np.searchsorted(gaps[:, 0], block.column("request_id"), side="right")
    return {
        "preemption_starts_s": lists_column(gaps[:, 1] / NS_PER_S, ends),
        "preemption_ends_s": lists_column(gaps[:, 2] / NS_PER_S, ends),
    }


class RequestTable:
    """Writes rows to a Parquet file, each ``group_rows`` ids one row group, compressed with zstd.

    Rows come in any order.  A row group is written once its rows and those of all groups before it are there, so the
    file depends on the set of rows alone.  Until ``close`` row groups go into numbered parts, each of which can be read
    as soon as ``end_part`` has completed it.
    """

    def __init__(self, path: Path, group_rows: int = GROUP_ROWS, *, identity: RunIdentity = UNKNOWN) -> None:
        """``path`` is that of the whole table, its parts lie beside it; ``identity`` is what is known of the run."""
        self._path = path
        self._identity = identity
        self._group_rows = group_rows
        self._waiting = ChunkStore(path.parent, len(ROW_FIELDS))
        self._gaps = ChunkStore(path.parent, NO_GAPS.shape[1])
        """What preemptions took, with the rows that wait."""
        self._counts: dict[int, int] = {}
        """Rows that wait, by row group."""
        self._next_group = 0
        self._words: RowBlock | None = None
        """The latest words, which hold all earlier ones."""
        self._parts = PartFiles(path)
        self._writer: pq.ParquetWriter | None = None

    def add(self, block: RowBlock) -> None:
        """Take the rows of ``block``; write the row groups that are complete."""
        self._words = block._replace(gaps=NO_GAPS)
        groups = block.column("request_id") // self._group_rows
        for group in np.unique(groups).tolist():
            rows = block.rows[groups == group]
            self._waiting.put(group, rows)
            self._counts[group] = self._counts.get(group, 0) + len(rows)
        groups = block.gaps[:, 0] // self._group_rows
        for group in np.unique(groups).tolist():
            self._gaps.put(group, block.gaps[groups == group])
        while self._counts.get(self._next_group) == self._group_rows:
            self._write(self._next_group)

    def end_part(self) -> None:
        """Complete the part that is being written, so that it can be read whatever happens to this process."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            self._parts.seal()

    def close(self, *, is_broken_off: bool = False) -> None:
        """Complete the table: one file of all parts, with the row groups that never became complete.

        The parts of a run that has broken off stay beside it, for whoever resumes the run.
        """
        with suppress(OSError) if is_broken_off else nullcontext():  # The disk may be what broke the run off.
            for group in self._waiting.keys():  # noqa: SIM118 - it is no mapping
                self._write(group)
            if self._writer is not None:
                self._writer.close()
        self._waiting.close()
        self._gaps.close()
        self._writer = None
        paths = self._parts.paths
        # A part that was written before a fork is of the run that was forked.
        if len(paths) == 1 and not is_broken_off and RunIdentity.of_table(paths[0]) == self._identity:
            paths[0].replace(self._path)
            return
        with self._new_writer(self._path) as writer:
            for path in paths:
                if is_broken_off and not _is_whole(path):
                    continue
                with pq.ParquetFile(path) as part:
                    for group in range(part.num_row_groups):
                        table = part.read_row_group(group)
                        writer.write_table(table, row_group_size=len(table))
        if not is_broken_off:
            self._parts.remove()

    def snapshot(self) -> dict[str, Any]:
        """Return the rows that wait and the hashes of the parts, after ``end_part``."""
        assert self._writer is None, "a part is open"
        words = self._words
        return {
            "parts": self._parts.digests,
            "next_group": self._next_group,
            "counts": self._counts,
            "waiting": self._waiting.snapshot(),
            "gaps": self._gaps.snapshot(),
            "words": None if words is None else words._replace(rows=words.rows[:0]),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what ``snapshot`` returned; parts that were written later are removed.

        Raises InputError if a part is missing or damaged.
        """
        self._parts.keep(state["parts"])
        self._next_group = state["next_group"]
        self._counts = state["counts"]
        self._waiting.restore(state["waiting"])
        self._gaps.restore(state["gaps"])
        self._words = state["words"]

    def _write(self, group: int) -> None:
        self._next_group = group + 1
        self._counts.pop(group)
        rows = self._waiting.take(group)
        rows = rows[np.argsort(rows[:, FIELD["request_id"]])]
        assert self._words is not None
        block = self._words._replace(rows=rows, gaps=self._gaps.take(group))
        tenants, models = _words_used(block, "tenant", block.tenants), _words_used(block, "model", block.models)
        slo_classes = _words_used(block, "slo_class", block.slo_classes)
        batch = request_batch(block._replace(tenants=tenants, models=models, slo_classes=slo_classes))
        if self._writer is None:
            self._writer = self._new_writer(self._parts.begin())
        self._writer.write_batch(batch, row_group_size=len(rows))

    def _new_writer(self, path: Path) -> pq.ParquetWriter:
        return pq.ParquetWriter(
            path,
            self._identity.added_to(REQUEST_SCHEMA),
            compression="zstd",
            compression_level=1,
            use_dictionary=_WORD_COLUMNS,
            # Bytes of equal significance side by side: floats compress better and need no dictionary.
            use_byte_stream_split=_FLOAT_COLUMNS,
            write_statistics=["request_id", "arrival_s"],
        )


def _is_whole(path: Path) -> bool:
    """Return whether a part can be read: the one in which the disk filled up cannot."""
    try:
        pq.read_schema(path)
    except (OSError, pa.ArrowException):
        return False
    return True


def _words_used(block: RowBlock, name: str, words: Sequence[str]) -> list[str]:
    """Renumber the words of a column by their first rows, and return them: codes depend on the order of the rows."""
    codes = block.column(name)
    used, first, places = np.unique(codes, return_index=True, return_inverse=True)
    order = np.argsort(first)
    numbers = np.empty_like(order)
    numbers[order] = np.arange(len(order))
    block.rows[:, FIELD[name]] = numbers[places]
    return [words[used[index]] for index in order]
