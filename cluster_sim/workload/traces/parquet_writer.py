"""Writer of the product's own Parquet traces."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet

from cluster_sim.atomic_file import whole_file
from cluster_sim.workload.columns import Columns
from cluster_sim.workload.readers.formats.parquet import NUMBER_FIELDS, TEXT_FIELDS, TIMES_OF_A_RUN

_SCHEMA: Final = pa.schema(
    [
        ("arrival_ns", pa.int64()),
        ("prompt_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        *((name, pa.string()) for name in TEXT_FIELDS),
        *((name, pa.int64()) for name in NUMBER_FIELDS),
        ("segment_ids", pa.list_(pa.int64())),
        ("segment_tokens", pa.list_(pa.int64())),
    ],
    metadata={TIMES_OF_A_RUN: b"1"},
)
_PLAIN: Final = pa.schema([_SCHEMA.field(index) for index in range(3)], metadata=_SCHEMA.metadata)
_ROWS: Final = 65_536


def _batch(block: Columns, schema: Any) -> Any:
    columns: list[Any] = [block.arrival_ns, block.prompt_tokens, block.output_tokens]
    if len(schema) > 3:
        attributes = block.attribute_list()
        columns += [[getattr(row, name) for row in attributes] for name in (*TEXT_FIELDS, *NUMBER_FIELDS)]
        columns.append([[segment for segment, _ in row.segments] for row in attributes])
        columns.append([[tokens for _, tokens in row.segments] for row in attributes])
    return pa.record_batch(
        [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema
    )


def write_trace(blocks: Iterator[Columns], path: Path, *, with_attributes: bool) -> int:
    """Write all rows and return their number; nothing is left at ``path`` unless all went well.

    ``with_attributes`` says whether rows may carry more than times and lengths; row groups are bounded, so memory is.
    Raises InputError when the file cannot be written.
    """
    schema = _SCHEMA if with_attributes else _PLAIN
    rows = held = 0
    waiting: list[Any] = []
    with whole_file(path) as partial, pyarrow.parquet.ParquetWriter(partial, schema, compression="zstd") as writer:
        for block in blocks:
            waiting.append(_batch(block, schema))
            held += len(block)
            rows += len(block)
            if held >= _ROWS:
                writer.write_table(pa.Table.from_batches(waiting, schema))
                waiting, held = [], 0
        if waiting:
            writer.write_table(pa.Table.from_batches(waiting, schema))
    return rows
