"""Vidur's execution-time model, exactly, from the dense prediction tables that it looks its times up in.

Design: a stage takes ``layers * (attention + mlp + add) + send_recv (not in the last stage)``, in milliseconds until
one rounding to ns at the end.  Dense operators are keyed by the batch's tokens rounded up to 8 (the cache write by the
exact count); decode attention by (decodes, mean cached tokens rounded up to 64), prefill attention by (sum of cached
tokens, each rounded up to 64; root of the sum of squared chunks, rounded); with grouped heads the attention of several
requests costs 1.1 times; an all-reduce costs 0.02 ms beside its prediction, twice a layer.  Source: Vidur's sources at
commit 7d47513, checked by rebuilding its logged batch times.  Vidur counts a decode's newest token as cached, we do
not: one is added per decode.

Outside a table Vidur crashes; here the edge is scaled by the ratio of work (tokens, cached tokens, or query-key pairs)
and counted as extrapolated.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from cluster_sim.config.errors import InputError
from cluster_sim.hardware.csv_table import Float64Array, find_table, read_numbers
from cluster_sim.hardware.model import Model
from cluster_sim.hardware.predictor import BatchShape, Int64Array, Predictor
from cluster_sim.hardware.sharding import check_parallelism

TOKEN_STEP: Final = 8
KV_STEP: Final = 64
GROUPED_FACTOR: Final = 1.1
LAUNCH_MS: Final = 0.02
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


class VidurTablePredictor(Predictor):
    """Vidur's batch times; see the module's text."""

    def __init__(
        self,
        tables: VidurTables,
        model: Model,
        tensor_parallel: int,
        pipeline_parallel: int,
        label: str = "Vidur tables",
    ) -> None:
        """Raise InputError for degrees that do not divide or tables without the operators the degrees need."""
        super().__init__()
        check_parallelism(model, tensor_parallel, pipeline_parallel)
        for needed, column in ((tensor_parallel, "all_reduce_ms"), (pipeline_parallel, "send_recv_ms")):
            if needed > 1 and column not in tables.ops:
                raise InputError(f"Vidur's tables lack {column}, which these degrees of parallelism need")
        self.stages = pipeline_parallel
        self.is_calibrated = True
        self.label = label
        self._tables = tables
        self._layers = model.num_hidden_layers // pipeline_parallel
        self._is_split = tensor_parallel > 1
        self._factor = GROUPED_FACTOR if model.num_attention_heads > model.num_key_value_heads else 1.0
        self._max_tokens = len(tables.ops["add_ms"]) - 1
        self._runs: dict[tuple[int, int], Int64Array] = {}
        self._floors = [self._lower_bound_ns(stage) for stage in range(pipeline_parallel)]

    def step_ns(self, shape: BatchShape, stage: int = 0) -> int:
        """Return the duration of one step of ``stage`` in ns."""
        if shape.decodes and not shape.prefills and not shape.draft_tokens:
            steps = 1 - (-(shape.decode_kv_tokens // shape.decodes + 1) // KV_STEP)
            self._count_decode(shape.decodes, steps - 1, 1)
            return int(self._decode_row(shape.decodes, steps, stage)[steps - 1])
        ms, is_inside = self.stage_time_ms(shape, stage)
        if is_inside:
            self.coverage.inside += 1
        else:
            self.coverage.extrapolated += 1
        return max(1, round(ms * 1e6))

    def decode_run_ns(self, decodes: int, kv_tokens: int, steps: int, stage: int = 0) -> Int64Array:
        """Return the durations of ``steps`` consecutive decode-only steps, int64[steps]."""
        mean = kv_tokens // decodes + 1
        keys = -(-np.arange(mean, mean + steps, dtype=np.int64) // KV_STEP)
        last = int(keys[-1])
        row = self._decode_row(decodes, last + 1, stage)
        if last < self._tables.decode.shape[1]:
            self._count_decode(decodes, last, steps)
        else:
            for key in keys.tolist():
                self._count_decode(decodes, key, 1)
        return row[keys]

    def floor_ns(self, stage: int = 0) -> int:
        """Return a bound from the smallest entry of every table: forests are not monotone in their inputs."""
        return self._floors[stage]

    def stage_time_ms(self, shape: BatchShape, stage: int = 0) -> tuple[float, bool]:
        """Return (ms of one step of ``stage``, whether every key lies inside its table)."""
        decode, is_decode_inside = self._decode_ms(shape)
        prefill, is_prefill_inside = self._prefill_ms(shape)
        tokens = max(1, shape.tokens)
        ms = self._compose(tokens, decode, prefill, stage)
        rounded = -(-tokens // TOKEN_STEP) * TOKEN_STEP
        return ms, is_decode_inside and is_prefill_inside and rounded <= self._max_tokens

    def _compose(self, tokens: int, decode_ms: float, prefill_ms: float, stage: int) -> float:
        """Vidur's sum for one stage, in its order of additions."""
        rounded = -(-tokens // TOKEN_STEP) * TOKEN_STEP
        op = self._op
        reduce_ms = op("all_reduce_ms", rounded) + LAUNCH_MS if self._is_split else 0.0
        attention = (
            op("attn_pre_proj_ms", rounded)
            + op("attn_post_proj_ms", rounded)
            + op("attn_rope_ms", rounded)
            + op("attn_kv_cache_save_ms", tokens)
            + decode_ms
            + prefill_ms
            + reduce_ms
            + op("input_layernorm_ms", rounded)
        )
        mlp = (
            op("mlp_up_proj_ms", rounded)
            + op("mlp_down_proj_ms", rounded)
            + op("mlp_act_ms", rounded)
            + reduce_ms
            + op("post_attention_layernorm_ms", rounded)
        )
        total = (attention + mlp + op("add_ms", rounded)) * self._layers
        return total + op("send_recv_ms", rounded) if stage < self.stages - 1 else total

    def _op(self, name: str, tokens: int) -> float:
        table = self._tables.ops[name]
        if tokens <= self._max_tokens:
            return float(table[tokens])
        return float(table[self._max_tokens]) * tokens / self._max_tokens

    def _decode_ms(self, shape: BatchShape) -> tuple[float, bool]:
        count = shape.decodes + shape.draft_tokens
        if not count:
            return 0.0, True
        mean = shape.decode_kv_tokens // max(1, shape.decodes) + 1
        return self._decode_lookup(count, -(-mean // KV_STEP))

    def _decode_lookup(self, count: int, key: int) -> tuple[float, bool]:
        """Decode attention of ``count`` requests whose mean cache is ``key * 64`` tokens: (ms, whether measured)."""
        rows, columns = self._tables.decode.shape
        row, column = min(count, rows - 1), min(key, columns - 1)
        ms = float(self._tables.decode[row, column])
        is_inside = row == count and column == key
        if not is_inside:
            ms *= count * max(key, 1) / (row * max(column, 1))
        return ms * self._factor if count > 1 else ms, is_inside

    def _prefill_ms(self, shape: BatchShape) -> tuple[float, bool]:
        if not shape.prefills:
            return 0.0, True
        cached = sum(-(-kv // KV_STEP) for _, kv in shape.prefills)
        chunk = round(math.sqrt(sum(tokens * tokens for tokens, _ in shape.prefills)))
        rows, columns = self._tables.prefill.shape
        row, column = min(chunk, rows - 1), min(cached, columns - 1)
        ms = float(self._tables.prefill[row, column])
        is_inside = row == chunk and column == cached
        if not is_inside:
            ms *= chunk * (2 * KV_STEP * cached + chunk) / (row * (2 * KV_STEP * column + row))
        return ms * self._factor if len(shape.prefills) > 1 else ms, is_inside

    def _decode_row(self, decodes: int, columns: int, stage: int) -> Int64Array:
        """Durations of a decode-only step by the mean cache in units of 64 tokens, at least ``columns`` of them."""
        stored = self._runs.get((decodes, stage))
        if stored is not None and len(stored) >= columns:
            return stored
        length = max(columns, self._tables.decode.shape[1], 2 * len(stored) if stored is not None else 0)
        row = np.array(
            [
                max(1, round(self._compose(decodes, self._decode_lookup(decodes, key)[0], 0.0, stage) * 1e6))
                for key in range(length)
            ],
            dtype=np.int64,
        )
        self._runs[decodes, stage] = row
        return row

    def _count_decode(self, decodes: int, key: int, steps: int) -> None:
        rows, columns = self._tables.decode.shape
        if decodes < rows and key < columns and -(-decodes // TOKEN_STEP) * TOKEN_STEP <= self._max_tokens:
            self.coverage.inside += steps
        else:
            self.coverage.extrapolated += steps

    def _lower_bound_ns(self, stage: int) -> int:
        """Every step has some attention and, rounded up, some count of tokens: the smallest of each, composed."""
        attention = min(float(self._tables.decode[1:].min()), float(self._tables.prefill[1:].min()))
        least = min(
            self._compose(tokens, 0.0, 0.0, stage) for tokens in range(TOKEN_STEP, self._max_tokens + 1, TOKEN_STEP)
        )
        saved = self._tables.ops["attn_kv_cache_save_ms"]
        slack = float(saved[TOKEN_STEP::TOKEN_STEP].max() - saved[1:].min())
        return max(1, math.floor((least + (attention - slack) * self._layers) * 1e6))


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
