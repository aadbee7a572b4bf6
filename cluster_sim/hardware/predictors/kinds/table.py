"""Step times from an operator profile: measured kernels, composed and interpolated.

Design: a stage of L layers takes L (layer operators(n) + experts(n) + all-reduces(n)) + step operators(n) + sequence
operators(s) + L attention + constants of the engine.  Everything by tokens or sequences becomes one curve when the
predictor is built; the experts' curve is taken at the expected number of activated experts, over the tokens of all
data-parallel ranks that share them, which also exchange those.  Decode attention of B requests is a curve over their
mean cache, interpolated between the measured batch sizes, so a decode step is two lookups and ``decode_run_ns`` is the
same arithmetic on arrays.  Attention of a mixed step is the measured mixed grid for the largest chunk, and the further
chunks' own time beyond an empty call.  A profile without head and sampler gets them from the roofline, one without the
all-reduces that its degree needs from the link.  A step with any key beyond its grid is scaled by the ratio of work and
counted as extrapolated.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from cluster_sim.errors import InputError
from cluster_sim.hardware.batch_shape import BatchShape, Int64Array
from cluster_sim.hardware.device import known_as
from cluster_sim.hardware.engine_settings import default_settings
from cluster_sim.hardware.precision import weight_bytes
from cluster_sim.hardware.predictors.attention_table import AttentionTable
from cluster_sim.hardware.predictors.collectives import Collectives
from cluster_sim.hardware.predictors.expert_table import experts_curve
from cluster_sim.hardware.predictors.grid import Curve
from cluster_sim.hardware.predictors.kinds.roofline import RooflinePredictor
from cluster_sim.hardware.predictors.measured_with import profile_mismatch
from cluster_sim.hardware.predictors.operator_profile import OperatorProfile
from cluster_sim.hardware.predictors.predictor_interface import (
    MOST_US,
    MOST_US_EACH,
    PREDICTORS,
    MeasuredSteps,
    Predictor,
    PredictorOptions,
)
from cluster_sim.hardware.replica_hardware import ONE_RANK, ReplicaHardware
from cluster_sim.hardware.sharding import stage_layers
from cluster_sim.options import InputFile
from cluster_sim.units import NS_PER_S, NS_PER_US


@dataclass(frozen=True, slots=True)
class Overheads:
    """The engine's own time, which kernels do not contain."""

    step_us: float = 0.0
    layer_us: float = 0.0
    sequence_us: float = 0.0
    frontend_us: float = 0.0
    frontend_us_per_token: float = 0.0


class TableOptions(PredictorOptions):
    """Step times composed and interpolated from measured operators."""

    example: ClassVar = {"path": "operators.parquet"}
    example_files: ClassVar = {"operators.parquet": ""}

    kind: Literal["table"] = Field("table", description="Measured operator tables.")
    path: InputFile = Field(description="Operator profile (Parquet), as `cluster-sim profile import` writes it.")
    step_overhead_us: float = Field(0.0, ge=0, le=MOST_US, description="The engine's own time per step.")
    layer_overhead_us: float = Field(0.0, ge=0, le=MOST_US, description="Launch overhead per layer.")
    sequence_overhead_us: float = Field(
        0.0, ge=0, le=MOST_US_EACH, description="The engine's own time per sequence of a step."
    )
    frontend_us: float = Field(0.0, ge=0, le=MOST_US, description="Time in the API server per request.")
    frontend_us_per_token: float = Field(
        0.0, ge=0, le=MOST_US_EACH, description="Time in the API server per prompt token."
    )


@PREDICTORS.register("table", TableOptions)
class TablePredictor(Predictor):
    """Step times from one operator profile; a pure function of its arguments."""

    models_ranks = True
    models_links = True

    def __init__(
        self,
        profile: OperatorProfile,
        hardware: ReplicaHardware,
        overheads: Overheads | None = None,
        collectives: Collectives | None = None,
    ) -> None:
        """``collectives`` stand for those that the profile lacks; without them the data sheet's link does.

        With several data-parallel ranks the answers are those of one of them, each of which has the same batch.
        Raises InputError when the profile is of another device, model or degree, or lacks what the model needs.
        """
        super().__init__()
        model, device, pipeline_parallel = hardware.model, hardware.device, hardware.pipeline_parallel
        _check_identity(profile, hardware)
        overheads = overheads or Overheads()
        self.stages = pipeline_parallel
        self.is_calibrated = True
        self.measured = MeasuredSteps.NONE if profile_mismatch(profile.info, hardware) else MeasuredSteps.SOME
        self.label = f"operator tables ({profile.info.source or profile.path})"
        self.frontend_ns = round(overheads.frontend_us * NS_PER_US)
        self.frontend_ns_per_token = overheads.frontend_us_per_token * NS_PER_US
        if not model.is_uniform:
            raise InputError(
                f"predictor.kind: {model.name} has layers of different shapes, and operator tables hold one; "
                "use roofline"
            )
        self._layers = [
            len(stage_layers(model.num_hidden_layers, pipeline_parallel, stage)) for stage in range(pipeline_parallel)
        ]
        self._overheads = overheads
        self._attention = AttentionTable(profile.of("attention"))
        is_own_node = hardware.topology is None
        self._link = _sum_curve(profile, ("send_recv",), "tokens") if is_own_node else None
        self._stage_links = [device.interconnect] * pipeline_parallel if is_own_node else hardware.stage_links
        self._device, self._model = device, model
        self._experts = hardware.experts
        if is_own_node:
            self._collectives = collectives or Collectives.by_data_sheet(device)
        else:
            self._collectives = Collectives.of_link(hardware.tensor_link)
        self._expert_share = model.moe_layers / model.num_hidden_layers
        self._token_curve = _dense_curve(profile, hardware, self._collectives)
        self._expert_curve: Curve | None = None
        if model.is_moe and "layer.experts" not in profile.operators:
            self._expert_curve = experts_curve(profile, hardware, self._token_curve.knots.tolist())
        self._step_curve = _sum_curve(profile, _named(profile, "step."), "tokens")
        self._sequence_curve = _sum_curve(profile, _named(profile, "sequence."), "sequences") or _head_curve(hardware)
        self._last_tokens, self._last_sequences = self._token_curve.last_knot, self._sequence_curve.last_knot
        self._last = pipeline_parallel - 1
        self._decode: dict[tuple[int, int], tuple[float, Curve]] = {}

    @classmethod
    def build(cls, options: TableOptions, hardware: ReplicaHardware) -> Self:
        """Read the operator profile that a study's block names."""
        from cluster_sim.hardware.predictors.operator_profile_file import read_profile

        overheads = Overheads(
            step_us=options.step_overhead_us,
            layer_us=options.layer_overhead_us,
            sequence_us=options.sequence_overhead_us,
            frontend_us=options.frontend_us,
            frontend_us_per_token=options.frontend_us_per_token,
        )
        return cls(read_profile(Path(options.path)), hardware, overheads)

    def step_ns(self, shape: BatchShape, stage: int = 0) -> int:
        """Return the duration of one step of ``stage`` in ns."""
        if not (shape.prefills or shape.draft_tokens or shape.routed_tokens):
            base, curve = self._decode_entry(shape.decodes, stage)
            mean = float(shape.decode_kv_tokens) / (shape.decodes or 1)
            return max(1, round(curve(mean) * self._layers[stage] * NS_PER_US + base))
        return max(1, round(self._mixed_us(shape, stage) * NS_PER_US))

    def decode_run_ns(self, decodes: int, kv_tokens: int, steps: int, stage: int = 0) -> Int64Array:
        """Return the durations of ``steps`` consecutive decode-only steps, int64[steps]."""
        base, curve = self._decode_entry(decodes, stage)
        mean = np.arange(steps, dtype=np.float64) * decodes
        mean += kv_tokens
        mean /= decodes
        ns = curve.many(mean)
        ns *= self._layers[stage]
        ns *= NS_PER_US
        ns += base
        np.rint(ns, ns)
        return np.maximum(ns.astype(np.int64), 1)

    def is_inside(self, shape: BatchShape, stage: int = 0) -> bool:  # noqa: ARG002
        """Return whether every key of a step lies in its grid."""
        sequences = shape.decodes + shape.draft_tokens
        mean = shape.decode_kv_tokens / (shape.decodes or 1)
        if sequences and not self._attention.has_decodes(sequences, mean):
            return False
        sequences += len(shape.prefills)
        if shape.tokens > self._last_tokens or sequences > self._last_sequences:
            return False
        chunks = _longest_first(shape.prefills)
        if chunks and shape.decodes and not self._attention.has_mixed(*chunks[0], shape.decodes, mean):
            return False
        return all(self._attention.has_chunk(*chunk) for chunk in chunks)

    def steps_inside(self, decodes: int, kv_tokens: int, steps: int, stage: int = 0) -> int:  # noqa: ARG002
        """Return how many steps of a decode run are made up to the last mean context that was measured."""
        if decodes > min(self._last_tokens, self._last_sequences) or not self._attention.has_decodes(decodes, 0):
            return 0
        last = math.floor(self._attention.decode_kv[-1] * decodes) - kv_tokens
        return min(max(last // decodes + 1, 0), steps)

    def floor_ns(self, stage: int = 0) -> int:
        """Return the time of one token and one sequence with the cheapest attention call that was measured."""
        return max(
            1,
            round(self._attention.empty_us * self._layers[stage] * NS_PER_US + self._base_us(1, 1, stage) * NS_PER_US)
            - 1,
        )

    def stage_link_ns(self, tokens: int, stage: int) -> int:
        """Return the measured send, or without one the link's latency and bandwidth."""
        if self._link is not None:
            return round(self._link(tokens) * NS_PER_US)
        link = self._stage_links[stage]
        return round(
            link.latency_us * NS_PER_US + tokens * self._model.hidden_size * 2 / link.bandwidth_bytes_per_s * NS_PER_S
        )

    def _base_us(self, tokens: int, sequences: int, stage: int, routed_tokens: int = 0) -> float:
        """Return everything but attention, us; ``routed_tokens`` are those of all ranks, 0 where each has as many."""
        overheads = self._overheads
        per_layer = self._token_curve(tokens) + overheads.layer_us
        routed_tokens = routed_tokens or tokens * self._experts.ranks
        if self._expert_curve is not None:
            per_layer += self._expert_share * self._expert_curve(routed_tokens)
        if self._experts.ranks > 1:
            received = self._experts.exchanged_bytes(self._model, routed_tokens)
            per_layer += self._expert_share * self._collectives.exchange_us(received)
        us = self._layers[stage] * per_layer + overheads.step_us
        if stage == 0 and self._step_curve is not None:
            us += self._step_curve(tokens)
        if stage == self._last:
            us += self._sequence_curve(sequences) + sequences * overheads.sequence_us
        return us

    def _decode_entry(self, decodes: int, stage: int) -> tuple[float, Curve]:
        entry = self._decode.get((decodes, stage))
        if entry is None:
            count = max(decodes, 1)
            entry = self._base_us(count, count, stage) * NS_PER_US, self._attention.decode_curve(count)
            self._decode[decodes, stage] = entry
        return entry

    def _mixed_us(self, shape: BatchShape, stage: int) -> float:
        tokens, sequences = shape.tokens, shape.decodes + shape.draft_tokens + len(shape.prefills)
        decode_us, mean = 0.0, 0.0
        if shape.decodes:
            _, curve = self._decode_entry(shape.decodes + shape.draft_tokens, stage)
            mean = float(shape.decode_kv_tokens) / shape.decodes
            decode_us = curve(mean)
        chunks = _longest_first(shape.prefills)
        attention_us = decode_us
        if chunks:
            first, kv = chunks[0]
            if shape.decodes:
                attention_us = self._attention.mixed(first, kv, shape.decodes, decode_us, mean)
            else:
                attention_us = self._attention.chunk(first, kv)
        for tokens_further, kv in chunks[1:]:
            attention_us += max(0.0, self._attention.chunk(tokens_further, kv) - self._attention.empty_us)
        base_us = self._base_us(max(tokens, 1), max(sequences, 1), stage, shape.routed_tokens)
        return base_us + attention_us * self._layers[stage]


def _longest_first(prefills: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the chunks of a batch, the one with most pairs first."""
    return sorted(prefills, key=lambda chunk: chunk[0] * (chunk[1] + chunk[0]), reverse=True)


def _named(profile: OperatorProfile, prefix: str) -> tuple[str, ...]:
    return tuple(name for name in profile.operators if name.startswith(prefix))


def _sum_curve(profile: OperatorProfile, operators: tuple[str, ...], key: str) -> Curve | None:
    """Return the sum of operators over one key, each interpolated and counted; None when there are none."""
    curves: list[tuple[Curve, int]] = []
    for operator in operators:
        rows = profile.of(operator)
        if rows:
            curves.append((Curve([getattr(row, key) for row in rows], [row.time_us for row in rows]), rows[0].count))
    if not curves:
        return None
    knots = sorted({knot for curve, _ in curves for knot in curve.knots.tolist()})
    return Curve(knots, [sum(curve(knot) * count for curve, count in curves) for knot in knots])


def _head_curve(hardware: ReplicaHardware) -> Curve:
    """Return the head and sampler by the roofline, for profiles that have none."""
    plain = replace(hardware, engine=default_settings(hardware.device), pipeline_parallel=1, experts=ONE_RANK)
    roofline = RooflinePredictor(plain)
    knots = [1 << power for power in range(11)]
    return Curve(knots, [roofline.sequences_cost(knot, 0) * 1e-3 for knot in knots])


def _dense_curve(profile: OperatorProfile, hardware: ReplicaHardware, collectives: Collectives) -> Curve:
    """Return one layer without attention and experts over the tokens.

    All-reduces are those that were measured, if any and on such links, else by the link.
    """
    model, tensor_parallel = hardware.model, hardware.tensor_parallel
    has_measured = hardware.topology is None and "all_reduce" in profile.operators
    names = _named(profile, "layer.") + (("all_reduce",) if tensor_parallel > 1 and has_measured else ())
    dense = _sum_curve(profile, names, "tokens")
    if dense is None:
        raise InputError(f"{profile.path}: has no layer operators")
    if tensor_parallel == 1 or has_measured:
        return dense
    token_bytes = model.hidden_size * weight_bytes(model.activation_dtype)
    knots = dense.knots.tolist()
    return Curve(
        knots, [dense(knot) + 2 * collectives.all_reduce_us(tensor_parallel, knot * token_bytes) for knot in knots]
    )


def _check_identity(profile: OperatorProfile, hardware: ReplicaHardware) -> None:
    info = profile.info
    if not known_as(hardware.device, [info.device]):
        raise InputError(
            f"{profile.path or 'profile'}: was measured with device {info.device}, not {hardware.device.name}"
        )
    for what, found, wanted in (
        ("model", info.model, hardware.model.name),
        ("tensor_parallel", info.tensor_parallel, hardware.tensor_parallel),
    ):
        if found != wanted:
            raise InputError(f"{profile.path or 'profile'}: was measured with {what} {found}, not {wanted}")
