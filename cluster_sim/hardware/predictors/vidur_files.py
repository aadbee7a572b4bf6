"""Reading Vidur's dense prediction tables: one CSV of operators by tokens, two of attention."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from cluster_sim.errors import InputError
from cluster_sim.hardware.predictors.csv_table import Float64Array, find_table, read_numbers

KV_STEP: Final = 64
"""Cached tokens between two entries of the attention tables."""
DENSE_OPS: Final = (
    "attn_pre_proj_ms",
    "attn_post_proj_ms",
    "mlp_up_proj_ms",
    "mlp_down_proj_ms",
    "mlp_act_ms",
    "attn_rope_ms",
    "attn_kv_cache_save_ms",
    "input_layernorm_ms",
    "post_attention_layernorm_ms",
    "add_ms",
)


@dataclass(frozen=True, slots=True)
class VidurTables:
    """The lookup tables of one (model, device, TP), ms."""

    ops: dict[str, Float64Array]
    """Per operator, indexed by tokens; index 0 repeats the time of one token."""
    decode: Float64Array
    """[decodes, cached tokens / 64]; row 0 is unused."""
    prefill: Float64Array
    """[chunk tokens, cached tokens / 64]; row 0 is unused."""


def load_vidur_tables(directory: Path, prefix: str, pipeline_parallel: int = 1) -> VidurTables:
    """Load ``<prefix>.ops_by_num_tokens.csv``, ``.attn_decode.csv`` and ``.attn_prefill.csv`` (or ``.csv.gz``).

    With pipeline stages the operators come from the file whose prefix has ``_pp<stages>`` after its ``_tp<degree>``,
    which adds ``send_recv_ms``.  Raises InputError for missing files or columns, holes in a table and negative times.
    """
    return VidurTables(
        ops=_load_ops(directory, prefix, pipeline_parallel),
        decode=_load_decode(_require(directory, f"{prefix}.attn_decode.csv")),
        prefill=_load_prefill(_require(directory, f"{prefix}.attn_prefill.csv")),
    )


def _require(directory: Path, name: str) -> Path:
    path = find_table(directory, name)
    if path is None:
        raise InputError(f"{directory / name}: no such file (nor with .gz)")
    return path


def _load_ops(directory: Path, prefix: str, pipeline_parallel: int) -> dict[str, Float64Array]:
    names = [prefix]
    if pipeline_parallel > 1:
        head, mark, tail = prefix.partition("_tp")
        degree, _, rest = tail.partition("_")
        staged = f"{head}{mark}{degree}_pp{pipeline_parallel}" + (f"_{rest}" if rest else "")
        names = [staged, f"{prefix}_pp{pipeline_parallel}", prefix]
    for name in names:
        path = find_table(directory, f"{name}.ops_by_num_tokens.csv")
        if path is not None:
            break
    else:
        path = _require(directory, f"{prefix}.ops_by_num_tokens.csv")
    header, values = read_numbers(path)
    missing = [column for column in ("num_tokens", *DENSE_OPS) if column not in header]
    if missing:
        raise InputError(f"{path}: lacks the columns {', '.join(missing)}")
    tokens = values[:, header.index("num_tokens")]
    _check_steps(path, "num_tokens", tokens, 1, 1)
    _check_times(path, header, values)
    return {
        column: np.concatenate((values[:1, index], values[:, index]))
        for index, column in enumerate(header)
        if column.endswith("_ms")
    }


def _load_decode(path: Path) -> Float64Array:
    header, values = read_numbers(path)
    columns = ("batch_size", "kv_cache_size", "attn_decode_ms")
    missing = [column for column in columns if column not in header]
    if missing:
        raise InputError(f"{path}: lacks the columns {', '.join(missing)}")
    _check_times(path, header, values)
    batch, kv, times = (values[:, header.index(column)] for column in columns)
    table = np.full((int(batch.max()) + 1, int(kv.max()) // KV_STEP + 1), np.nan)
    for line, (row, tokens, time) in enumerate(zip(batch, kv, times, strict=True), start=2):
        cell = int(row), int(tokens) // KV_STEP
        if tokens % KV_STEP or row < 1:
            raise InputError(f"{path}:{line}: kv_cache_size must be a multiple of {KV_STEP} and batch_size at least 1")
        if not np.isnan(table[cell]):
            raise InputError(f"{path}:{line}: duplicate key ({row:.0f}, {tokens:.0f})")
        table[cell] = time
    if np.isnan(table[1:]).any():
        row_hole, column_hole = (int(index[0]) for index in np.nonzero(np.isnan(table[1:])))
        raise InputError(f"{path}: no row for batch_size {row_hole + 1}, kv_cache_size {column_hole * KV_STEP}")
    return table


def _load_prefill(path: Path) -> Float64Array:
    header, values = read_numbers(path)
    expected = ["chunk_tokens", *(f"kv{KV_STEP * index}_ms" for index in range(len(header) - 1))]
    if header != expected:
        raise InputError(f"{path}: columns must be chunk_tokens, kv0_ms, kv{KV_STEP}_ms and so on")
    _check_steps(path, "chunk_tokens", values[:, 0], 1, 1)
    _check_times(path, header, values)
    return np.concatenate((values[:1, 1:], values[:, 1:]))


def _check_steps(path: Path, column: str, values: Float64Array, first: int, step: int) -> None:
    """Raise InputError with the line where a column does not count up evenly."""
    wrong = np.nonzero(values != first + step * np.arange(len(values)))[0]
    if len(wrong):
        line = int(wrong[0])
        raise InputError(f"{path}:{line + 2}: {column} is {values[line]:g}, expected {first + step * line}")


def _check_times(path: Path, header: list[str], values: Float64Array) -> None:
    """Raise InputError with the line of the first negative number."""
    if (values < 0).any():
        row, column = (int(index[0]) for index in np.nonzero(values < 0))
        raise InputError(f"{path}:{row + 2}: {header[column]} is {values[row, column]:g}: times cannot be negative")
