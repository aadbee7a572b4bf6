"""Replays a case with the simulator's own hub, scheduler and replicas, in this process.

Design: the same parts that a study's inline executor joins, without a run directory, and with the case's requests in
place of a study's workload.  What the client did is modelled, not read from the measurement: a client that keeps at
most N requests in flight sends request N + j when the j-th response has come, and not before its scheduled arrival.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from cluster_sim.calibration.case import Case, FloatArray, Int64Array, Requests
from cluster_sim.calibration.library_match import match_device, match_model
from cluster_sim.engine.coordinator import Coordinator, ProcessLink
from cluster_sim.engine.group import Group, Wiring
from cluster_sim.engine.instant import NEVER
from cluster_sim.engine.loop import DirectExchange, run_loop
from cluster_sim.errors import InputError
from cluster_sim.hardware.device import Device
from cluster_sim.hardware.engine_limits import EngineLimits, limits_of
from cluster_sim.hardware.memory_plan import plan_memory
from cluster_sim.hardware.model import Model
from cluster_sim.hardware.predictors.base import Predictor
from cluster_sim.hardware.predictors.build import build_predictor
from cluster_sim.hardware.predictors.coverage import Coverage, total_coverage
from cluster_sim.hardware.predictors.options import PhysicalPredictor as PhysicalConfig
from cluster_sim.hardware.predictors.physical import Coefficients, PhysicalPredictor
from cluster_sim.hardware.sharding import ExpertLayout
from cluster_sim.metrics.attainment import request_limits
from cluster_sim.metrics.objectives import Slo
from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.recording.request_log import RequestLog
from cluster_sim.recording.request_totals import RequestTotals
from cluster_sim.recording.rows import RowBlock
from cluster_sim.routing.admission import StaticLimits
from cluster_sim.routing.hub import Route, RouterHub, Target
from cluster_sim.routing.options import Router
from cluster_sim.routing.policies import POLICIES, Candidates
from cluster_sim.serving.data_parallel import build_scheduler
from cluster_sim.serving.engine_defaults import resolve_engine, scheduler_limits
from cluster_sim.serving.engine_options import Engine
from cluster_sim.serving.replica import Replica, ReplicaSettings, floor_model
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.simulation.parallelism import rank_limits, replica_limits
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.client_limit import LimitedClient
from cluster_sim.workload.columns import Columns
from cluster_sim.workload.request import Attributes
from cluster_sim.workload.request_stream import RequestStream

DEFAULT_PROFILE: Final = "vllm"
"""The frozen coefficients of the physical step model for vLLM's v1 engine."""


@dataclass(frozen=True, slots=True)
class Setup:
    """A case's engine, resolved against the libraries."""

    model: Model
    device: Device
    engine: Engine
    limits: SchedulerLimits
    hardware: EngineLimits
    """What the predictor must know of the engine."""
    experts: ExpertLayout
    """Data-parallel ranks that share the experts of a replica; ranks of a dense model are replicas of their own."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay gives, by request in the order of the case's rows; NaN where a request did not finish."""

    ttft_s: FloatArray
    e2e_s: FloatArray
    sent_s: FloatArray
    coverage: Coverage


class CaseColumns:
    """A ``ColumnSource``: the requests of a case; equal prompt ids share their whole prompt's content."""

    def __init__(self, table: Requests) -> None:
        self._table = table

    def columns(self) -> Iterator[Columns]:
        """Yield all rows at once."""
        table = self._table
        attributes: list[Attributes] | None = None
        if table.segments is not None:
            attributes = [Attributes(segments=each) for each in table.segments]
        elif table.prompt_ids is not None:
            whole = zip(table.prompt_ids.tolist(), table.prompt_tokens.tolist(), strict=True)
            attributes = [Attributes(segments=(each,)) for each in whole]
        arrival_ns = np.rint((table.arrival_s - min(0.0, float(table.arrival_s.min()))) * NS_PER_S).astype(np.int64)
        yield Columns(arrival_ns, table.prompt_tokens, table.output_tokens, attributes)


def set_up(case: Case) -> Setup:
    """Resolve a case's model, device and engine.

    Raises InputError for an unknown model or device, or a model that does not fit.
    """
    model, device = match_model(case.model, case.quantization), match_device(case.device)
    experts = ExpertLayout(case.replicas if case.is_data_parallel and model.is_moe else 1)
    try:
        engine = resolve_engine(Engine(**case.engine), device)
    except ValueError as error:
        raise InputError(f"{case.dataset}/{case.run}: {error}") from None
    hardware = limits_of(engine, device)
    if case.kv_cache_dtype:
        hardware = EngineLimits(
            **{name: getattr(hardware, name) for name in EngineLimits.__slots__}
            | {"kv_cache_dtype": case.kv_cache_dtype}
        )
    blocks = engine.num_kv_blocks
    if not blocks:
        blocks = plan_memory(model, device, case.tensor_parallel, 1, hardware, experts.ranks).kv_blocks
    limits = scheduler_limits(engine, model, blocks, 1, macro_steps=True)
    return Setup(model, device, engine, limits, hardware, experts)


def physical_predictor(case: Case, setup: Setup, coefficients: Coefficients) -> Predictor:
    """Return the physical step model with given coefficients."""
    arguments = coefficients, setup.model, setup.device, case.tensor_parallel, 1, setup.hardware
    return PhysicalPredictor(*arguments, experts=setup.experts)


def frozen_predictor(case: Case, setup: Setup, profile: str = DEFAULT_PROFILE) -> Predictor:
    """Return the predictor that a frozen profile gives for a case; a profile that the case names comes first."""
    config = PhysicalConfig(kind="physical", profile=case.profile or profile)
    arguments = config, setup.model, setup.device, case.tensor_parallel, 1, setup.hardware
    return build_predictor(*arguments, setup.experts)


def replay(case: Case, setup: Setup, predictor: Predictor) -> Replayed:
    """Simulate a case to its end."""
    columns = CaseColumns(case.requests)
    source = LimitedClient(columns, case.in_flight_limit, 0) if case.in_flight_limit else RequestStream(columns)
    wiring = Wiring(0, 0)
    ranks = setup.experts.ranks
    count, limits = case.replicas // ranks, rank_limits(setup.limits, ranks)
    rows: list[FinishedRows] = []
    totals = RequestTotals(count, ["main"], setup.limits.max_model_len, request_limits(Slo()))
    log = RequestLog(totals, [lambda block: rows.append(FinishedRows.of(block))], default_model=setup.model.name)
    statics = StaticLimits(setup.limits.max_model_len, setup.limits.context_blocks, setup.limits.block_size)
    targets = [Target(index + 1, "main", 0) for index in range(count)]
    policy = POLICIES.build(Router(policy="round_robin"), Candidates(count, 0, [0] * count))
    hub = RouterHub(source, {"": Route(policy, targets, statics)}, log, round(case.client_timeout_s * NS_PER_S))
    replicas = [
        Replica(
            ReplicaSettings(index, replica_limits(limits), 0),
            build_scheduler(setup.engine, limits),
            predictor,
            ReplicaLog(0, predictor.stages),
        )
        for index in range(count)
    ]
    group = Group(replicas, {index + 1: wiring for index in range(count)}, hub.observation)
    floors = floor_model(predictor, setup.limits)
    links = [ProcessLink(index + 1, 0, wiring, floors) for index in range(count)]
    run_loop(hub, Coordinator(hub, links, NEVER), DirectExchange({0: group}))
    hub.close()
    return _collect(case.requests, rows, total_coverage(replica.pipeline.coverage for replica in replicas))


class FinishedRows(NamedTuple):
    """The columns that a replay keeps of a block of rows."""

    ids: Int64Array
    arrival_ns: Int64Array
    first_token_ns: Int64Array
    finish_ns: Int64Array

    @classmethod
    def of(cls, block: RowBlock) -> "FinishedRows":
        """Copy the columns of a block."""
        names = ("request_id", "arrival_ns", "first_token_ns", "finish_ns")
        return cls(*(block.column(name).copy() for name in names))


def _collect(table: Requests, blocks: list[FinishedRows], coverage: Coverage) -> Replayed:
    ttft, e2e = np.full(len(table), np.nan), np.full(len(table), np.nan)
    sent = np.full(len(table), np.nan)
    for block in blocks:
        is_done = (block.first_token_ns >= 0) & (block.finish_ns >= 0)
        sent[block.ids] = block.arrival_ns / NS_PER_S
        ttft[block.ids] = np.where(is_done, (block.first_token_ns - block.arrival_ns) / NS_PER_S, np.nan)
        e2e[block.ids] = np.where(is_done, (block.finish_ns - block.arrival_ns) / NS_PER_S, np.nan)
    return Replayed(ttft, e2e, sent, coverage)
