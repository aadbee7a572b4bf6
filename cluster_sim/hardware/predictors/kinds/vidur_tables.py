"""Execution-time model of Vidur, exactly, from its dense prediction tables.

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
from pathlib import Path
from typing import ClassVar, Final, Literal, Self

import numpy as np
from pydantic import Field

from cluster_sim.errors import InputError
from cluster_sim.hardware.batch_shape import BatchShape, Int64Array
from cluster_sim.hardware.predictors.csv_table import Float64Array
from cluster_sim.hardware.predictors.predictor_interface import PREDICTORS, MeasuredSteps, Predictor, PredictorOptions
from cluster_sim.hardware.predictors.vidur_files import KV_STEP, VidurTables, load_vidur_tables
from cluster_sim.hardware.replica_hardware import ReplicaHardware
from cluster_sim.options import InputFile
from cluster_sim.units import NS_PER_MS

TOKEN_STEP: Final = 8
GROUPED_FACTOR: Final = 1.1
LAUNCH_MS: Final = 0.02


class VidurTablesOptions(PredictorOptions):
    """Step times exactly as Vidur composes them from its dense prediction tables."""

    example: ClassVar = {"directory": ".", "prefix": "llama"}

    kind: Literal["vidur_tables"] = Field("vidur_tables", description="Vidur's lookup tables.")
    directory: InputFile = Field(description="Folder of the tables.")
    prefix: str = Field(min_length=1, description="What the tables' file names begin with, up to the first full stop.")


@PREDICTORS.register("vidur_tables", VidurTablesOptions)
class VidurTablePredictor(Predictor):
    """Vidur's batch times; see the module's text."""

    def __init__(self, tables: VidurTables, hardware: ReplicaHardware, label: str = "Vidur tables") -> None:
        """Raise InputError for tables without the operators that the degrees of parallelism need."""
        super().__init__()
        model, pipeline_parallel = hardware.model, hardware.pipeline_parallel
        for needed, column in ((hardware.tensor_parallel, "all_reduce_ms"), (pipeline_parallel, "send_recv_ms")):
            if needed > 1 and column not in tables.ops:
                raise InputError(f"Vidur's tables lack {column}, which these degrees of parallelism need")
        if model.num_hidden_layers % pipeline_parallel:
            raise InputError(
                f"pipeline_parallel {pipeline_parallel} does not divide the {model.num_hidden_layers} layers of "
                f"{model.name}, and Vidur's tables know equal stages only"
            )
        self.stages = pipeline_parallel
        self.is_calibrated = True
        self.measured = MeasuredSteps.SOME
        self.label = label
        self._tables = tables
        self._layers = model.num_hidden_layers // pipeline_parallel
        self._is_split = hardware.tensor_parallel > 1
        self._factor = GROUPED_FACTOR if model.num_attention_heads > model.num_key_value_heads else 1.0
        self._max_tokens = len(tables.ops["add_ms"]) - 1
        self._runs: dict[tuple[int, int], Int64Array] = {}
        self._floors = [self._lower_bound_ns(stage) for stage in range(pipeline_parallel)]

    @classmethod
    def build(cls, options: VidurTablesOptions, hardware: ReplicaHardware) -> Self:
        """Read the tables that a study's block names."""
        tables = load_vidur_tables(Path(options.directory), options.prefix, hardware.pipeline_parallel)
        return cls(tables, hardware, f"Vidur tables ({options.prefix})")

    def step_ns(self, shape: BatchShape, stage: int = 0) -> int:
        """Return the duration of one step of ``stage`` in ns."""
        if shape.decodes and not shape.prefills and not shape.draft_tokens:
            steps = 1 - (-(shape.decode_kv_tokens // shape.decodes + 1) // KV_STEP)
            return int(self._decode_row(shape.decodes, steps, stage)[steps - 1])
        return max(1, round(self.stage_time_ms(shape, stage) * NS_PER_MS))

    def decode_run_ns(self, decodes: int, kv_tokens: int, steps: int, stage: int = 0) -> Int64Array:
        """Return the durations of ``steps`` consecutive decode-only steps, int64[steps]."""
        mean = kv_tokens // decodes + 1
        keys = -(-np.arange(mean, mean + steps, dtype=np.int64) // KV_STEP)
        return self._decode_row(decodes, int(keys[-1]) + 1, stage)[keys]

    def is_inside(self, shape: BatchShape, stage: int = 0) -> bool:  # noqa: ARG002
        """Return whether every key lies inside its table."""
        if -(-shape.tokens // TOKEN_STEP) * TOKEN_STEP > self._max_tokens:
            return False
        decodes = shape.decodes + shape.draft_tokens
        if decodes and not _has(self._tables.decode, decodes, self._decode_key(shape)):
            return False
        return not shape.prefills or _has(self._tables.prefill, *self._prefill_key(shape))

    def steps_inside(self, decodes: int, kv_tokens: int, steps: int, stage: int = 0) -> int:  # noqa: ARG002
        """Return how many steps of a decode run are made before the last column of the decode table is left behind."""
        if not _has(self._tables.decode, decodes, 0) or -(-decodes // TOKEN_STEP) * TOKEN_STEP > self._max_tokens:
            return 0
        last: int = (self._tables.decode.shape[1] - 1) * KV_STEP
        return min(max(last - kv_tokens // decodes, 0), steps)

    def floor_ns(self, stage: int = 0) -> int:
        """Return a bound from the smallest entry of every table: forests are not monotone in their inputs."""
        return self._floors[stage]

    def stage_time_ms(self, shape: BatchShape, stage: int = 0) -> float:
        """Return one step of ``stage`` in ms."""
        return self._compose(max(1, shape.tokens), self._decode_ms(shape), self._prefill_ms(shape), stage)

    def _compose(self, tokens: int, decode_ms: float, prefill_ms: float, stage: int) -> float:
        """Return Vidur's sum for one stage, in its order of additions."""
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

    def _decode_ms(self, shape: BatchShape) -> float:
        count = shape.decodes + shape.draft_tokens
        return self._decode_lookup(count, self._decode_key(shape)) if count else 0.0

    @staticmethod
    def _decode_key(shape: BatchShape) -> int:
        """Return the mean cache of the decodes, in units of 64 tokens."""
        return -(-(shape.decode_kv_tokens // max(1, shape.decodes) + 1) // KV_STEP)

    def _decode_lookup(self, count: int, key: int) -> float:
        """Return the decode attention of ``count`` requests whose mean cache is ``key * 64`` tokens, ms."""
        rows, columns = self._tables.decode.shape
        row, column = min(count, rows - 1), min(key, columns - 1)
        ms = float(self._tables.decode[row, column])
        if (row, column) != (count, key):
            ms *= count * max(key, 1) / (row * max(column, 1))
        return ms * self._factor if count > 1 else ms

    @staticmethod
    def _prefill_key(shape: BatchShape) -> tuple[int, int]:
        """Return the chunks as one, in tokens, and what they find in the cache, in units of 64 tokens."""
        chunk = round(math.sqrt(sum(tokens * tokens for tokens, _ in shape.prefills)))
        return chunk, sum(-(-kv // KV_STEP) for _, kv in shape.prefills)

    def _prefill_ms(self, shape: BatchShape) -> float:
        if not shape.prefills:
            return 0.0
        chunk, cached = self._prefill_key(shape)
        rows, columns = self._tables.prefill.shape
        row, column = min(chunk, rows - 1), min(cached, columns - 1)
        ms = float(self._tables.prefill[row, column])
        if (row, column) != (chunk, cached):
            ms *= chunk * (2 * KV_STEP * cached + chunk) / (row * (2 * KV_STEP * column + row))
        return ms * self._factor if len(shape.prefills) > 1 else ms

    def _decode_row(self, decodes: int, columns: int, stage: int) -> Int64Array:
        """Return the durations of a decode-only step by the mean cache in units of 64 tokens, at least ``columns``."""
        stored = self._runs.get((decodes, stage))
        if stored is not None and len(stored) >= columns:
            return stored
        length = max(columns, self._tables.decode.shape[1], 2 * len(stored) if stored is not None else 0)
        row = np.array(
            [
                max(1, round(self._compose(decodes, self._decode_lookup(decodes, key), 0.0, stage) * NS_PER_MS))
                for key in range(length)
            ],
            dtype=np.int64,
        )
        self._runs[decodes, stage] = row
        return row

    def _lower_bound_ns(self, stage: int) -> int:
        """Return the smallest of each operator, composed: every step has some attention and some count of tokens."""
        attention = min(float(self._tables.decode[1:].min()), float(self._tables.prefill[1:].min()))
        least = min(
            self._compose(tokens, 0.0, 0.0, stage) for tokens in range(TOKEN_STEP, self._max_tokens + 1, TOKEN_STEP)
        )
        saved = self._tables.ops["attn_kv_cache_save_ms"]
        slack = float(saved[TOKEN_STEP::TOKEN_STEP].max() - saved[1:].min())
        return max(1, math.floor((least + (attention - slack) * self._layers) * NS_PER_MS))


def _has(table: Float64Array, row: int, column: int) -> bool:
    """Return whether a table reaches to a cell."""
    rows, columns = table.shape
    return bool(row < rows and column < columns)
