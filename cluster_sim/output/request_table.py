"""``requests.parquet``: one row per request, streamed in row groups as the run goes on."""

from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cluster_sim.metrics.latencies import latencies_ns
from cluster_sim.output.arrow_columns import number_column, seconds_column, word_column
from cluster_sim.recording.rows import RowBlock
from cluster_sim.recording.statuses import FINISHED, STATUSES
from cluster_sim.units import NS_PER_S

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
        ("ttft_s", pa.float64()),
        ("tpot_s", pa.float64()),
        ("e2e_s", pa.float64()),
        ("queue_s", pa.float64()),
        ("prefill_s", pa.float64()),
        ("decode_s", pa.float64()),
    ]
)
"""The columns; docs/results.md says what each means and when it is null."""

_WORD_COLUMNS: Final = ["tenant", "model", "pool", "status"]
_FLOAT_COLUMNS: Final = [field.name for field in REQUEST_SCHEMA if field.type == pa.float64()]
_TOKEN_COLUMNS: Final = ("prompt_tokens", "output_tokens", "cached_tokens")
_FINISHED_CODE: Final = STATUSES.index(FINISHED)


def request_batch(block: RowBlock) -> pa.RecordBatch:
    """Return the block as a record batch of ``REQUEST_SCHEMA``."""
    dispatch, scheduled = block.column("dispatch_ns"), block.column("scheduled_ns")
    first, finish = block.column("first_token_ns"), block.column("finish_ns")
    output = block.column("output_tokens")
    latencies = latencies_ns(block)
    is_finished = block.column("status") == _FINISHED_CODE
    has_first = first >= 0
    several = is_finished & (output > 1)
    arrays = {
        "request_id": number_column(block.column("request_id"), pa.int64()),
        "session_id": number_column(block.column("session_id"), pa.int64(), block.column("session_id") >= 0),
        "tenant": word_column(block.column("tenant"), block.tenants),
        "model": word_column(block.column("model"), block.models),
        "pool": word_column(block.column("pool"), block.pools),
        "replica": number_column(block.column("replica"), pa.int32(), block.column("replica") >= 0),
        "status": word_column(block.column("status"), STATUSES),
        **{name: number_column(block.column(name), pa.int64()) for name in _TOKEN_COLUMNS},
        "preemptions": number_column(block.column("preemptions"), pa.int32()),
        "retries": number_column(block.column("retries"), pa.int32()),
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
    }
    return pa.record_batch([arrays[name] for name in REQUEST_SCHEMA.names], schema=REQUEST_SCHEMA)


class RequestTable:
    """Writes blocks of rows to a Parquet file, each block one row group, compressed with zstd."""

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(
            path,
            REQUEST_SCHEMA,
            compression="zstd",
            compression_level=1,
            use_dictionary=_WORD_COLUMNS,
            # Bytes of equal significance side by side: floats compress better and need no dictionary.
            use_byte_stream_split=_FLOAT_COLUMNS,
            write_statistics=["request_id", "arrival_s"],
        )

    def add(self, block: RowBlock) -> None:
        """Append the rows of ``block``."""
        self._writer.write_batch(request_batch(block), row_group_size=max(len(block.rows), 1))

    def close(self) -> None:
        """Complete the file; without this it cannot be read."""
        self._writer.close()
