"""Splitwise's performance model: whole-model prompt and token times by tokens and batch size.

Design: as splitwise-sim does, the prompt phase is a curve over the prompt tokens of the batch and the token phase a
curve over the batch size, both medians of repeated measurements; a longer cache costs nothing.  A step with prompts
takes the prompt time of all tokens it computes, and at least the token time of its decodes.  Beyond the measured
range times grow in proportion and are counted as extrapolated.  Measured on 2023's engines without CUDA graphs.
"""

from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from cluster_sim.errors import InputError
from cluster_sim.hardware.batch_shape import BatchShape, Int64Array
from cluster_sim.hardware.predictors.csv_table import number, read_rows
from cluster_sim.hardware.predictors.grid import Curve
from cluster_sim.hardware.predictors.predictor_interface import PREDICTORS, MeasuredSteps, Predictor, PredictorOptions
from cluster_sim.hardware.replica_hardware import ReplicaHardware
from cluster_sim.options import InputFile
from cluster_sim.units import NS_PER_MS


@dataclass(frozen=True, slots=True)
class SplitwiseTables:
    """Times in ms of one (model, hardware, TP)."""

    prompt: Curve
    """By prompt tokens in the batch."""
    token: Curve
    """By requests in the batch."""
    name: str


def load_splitwise(path: Path, model: str, hardware: str, tensor_parallel: int) -> SplitwiseTables:
    """Read ``perf_model.csv``.

    Raises InputError with file, line and column for wrong values, and with the known combinations when the file lacks
    the one that is asked for.
    """
    prompt: dict[int, list[float]] = {}
    token: dict[int, list[float]] = {}
    known: set[str] = set()
    columns = ("model", "hardware", "tensor_parallel", "prompt_size", "batch_size", "prompt_time", "token_time")
    for line, row in read_rows(path, columns):
        known.add(f"{row['model']}/{row['hardware']}/tp{row['tensor_parallel']}")
        if (row["model"], row["hardware"]) != (model, hardware):
            continue
        if int(number(path, line, row, "tensor_parallel")) != tensor_parallel:
            continue
        batch = int(number(path, line, row, "batch_size"))
        tokens = int(number(path, line, row, "prompt_size")) * batch
        prompt.setdefault(tokens, []).append(number(path, line, row, "prompt_time"))
        token.setdefault(batch, []).append(number(path, line, row, "token_time"))
    if not prompt:
        raise InputError(
            f"{path}: has nothing for {model}/{hardware}/tp{tensor_parallel}; known: {', '.join(sorted(known))}"
        )
    return SplitwiseTables(_median_curve(prompt), _median_curve(token), f"{model} on {hardware}")


class SplitwiseOptions(PredictorOptions):
    """Step times interpolated from Splitwise's performance model: whole prompt and token phases by tokens."""

    example: ClassVar = {"path": "perf_model.csv"}
    example_files: ClassVar = {"perf_model.csv": ""}

    kind: Literal["splitwise"] = Field("splitwise", description="Splitwise's measured prompt and token times.")
    path: InputFile = Field(description="perf_model.csv, compressed or not.")
    measured_model: str = Field("llama2-70b", description="Value of the file's model column.")
    measured_hardware: str = Field("h100-80gb", description="Value of the file's hardware column.")


@PREDICTORS.register("splitwise", SplitwiseOptions)
class SplitwisePredictor(Predictor):
    """Step times from Splitwise's tables; stages share a step evenly."""

    def __init__(self, tables: SplitwiseTables, hardware: ReplicaHardware) -> None:
        super().__init__()
        self.stages = hardware.pipeline_parallel
        self.is_calibrated = True
        self.measured = MeasuredSteps.SOME
        self.label = f"Splitwise performance model ({tables.name})"
        self._tables = tables
        self._ns_per_ms = NS_PER_MS / self.stages
        self._decode_ns: dict[int, int] = {}

    @classmethod
    def build(cls, options: SplitwiseOptions, hardware: ReplicaHardware) -> Self:
        """Read the file that a study's block names."""
        path, model, device = Path(options.path), options.measured_model, options.measured_hardware
        return cls(load_splitwise(path, model, device, hardware.tensor_parallel), hardware)

    def step_ns(self, shape: BatchShape, stage: int = 0) -> int:  # noqa: ARG002
        """Return the duration of one step of ``stage`` in ns."""
        count = max(shape.decodes + shape.draft_tokens, 1)
        if not shape.prefills:
            return self._token_ns(count)
        tokens = shape.tokens
        ns = max(1, round(self._tables.prompt(tokens) * self._ns_per_ms))
        return max(ns, self._token_ns(count)) if shape.decodes else ns

    def decode_run_ns(self, decodes: int, kv_tokens: int, steps: int, stage: int = 0) -> Int64Array:  # noqa: ARG002
        """Return the durations of ``steps`` consecutive decode-only steps, int64[steps]: all equal."""
        return np.full(steps, self._token_ns(max(decodes, 1)), dtype=np.int64)

    def is_inside(self, shape: BatchShape, stage: int = 0) -> bool:  # noqa: ARG002
        """Return whether neither the decodes nor, with prompts in the batch, the tokens exceed what was measured."""
        if shape.decodes + shape.draft_tokens > self._tables.token.last_knot:
            return False
        return not shape.prefills or shape.tokens <= self._tables.prompt.last_knot

    def steps_inside(self, decodes: int, kv_tokens: int, steps: int, stage: int = 0) -> int:  # noqa: ARG002
        """Return all of the steps up to the largest measured batch, else none."""
        return steps if decodes <= self._tables.token.last_knot else 0

    def floor_ns(self, stage: int = 0) -> int:  # noqa: ARG002
        """Return the shorter of one token and the smallest prompt."""
        return min(self._token_ns(1), max(1, round(self._tables.prompt(1) * self._ns_per_ms)))

    def _token_ns(self, count: int) -> int:
        ns = self._decode_ns.get(count)
        if ns is None:
            ns = self._decode_ns[count] = max(1, round(self._tables.token(count) * self._ns_per_ms))
        return ns


def _median_curve(points: dict[int, list[float]]) -> Curve:
    knots = sorted(points)
    return Curve(knots, [median(points[knot]) for knot in knots])
