"""Replays a case with the simulator's own hub, scheduler and replicas, in this process.

Design: the same parts that a study's inline executor joins, without a run directory, and with the case's requests in
place of a study's workload.  What the client did is modelled, not read from the measurement: a client that keeps at
most N requests in flight sends request N + j when the j-th response has come, and not before its scheduled arrival.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cluster_sim.config.engine import Engine
from cluster_sim.config.errors import InputError
from cluster_sim.config.predictor import PhysicalPredictor as PhysicalConfig
from cluster_sim.config.predictor import Predictor as PredictorConfig
from cluster_sim.config.router import Router
from cluster_sim.config.slo import Slo
from cluster_sim.engine.conduct import DirectExchange, conduct
from cluster_sim.engine.coordinator import Coordinator, LeafLink
from cluster_sim.engine.group import Group, Wiring
from cluster_sim.engine.instant import NEVER
from cluster_sim.hardware.build import build_predictor
from cluster_sim.hardware.device import Device
from cluster_sim.hardware.engine_limits import EngineLimits, limits_of
from cluster_sim.hardware.memory_plan import plan_memory
from cluster_sim.hardware.model import Model
from cluster_sim.hardware.physical import Coefficients, PhysicalPredictor
from cluster_sim.hardware.predictor import Predictor
from cluster_sim.metrics.attainment import request_limits
from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.recording.request_log import RequestLog, RowBlock
from cluster_sim.recording.request_totals import RequestTotals
from cluster_sim.routing.admission import StaticLimits
from cluster_sim.routing.hub import Route, RouterHub, Target
from cluster_sim.routing.policies import POLICIES, Candidates
from cluster_sim.serving.engine_defaults import resolve_engine, scheduler_limits
from cluster_sim.serving.replica import Replica, ReplicaSettings, floor_model
from cluster_sim.serving.schedulers import SCHEDULERS, SchedulerLimits
from cluster_sim.study.fidelity.case import Case, FloatArray, Int64Array, Requests
from cluster_sim.study.fidelity.library_match import match_device, match_model
from cluster_sim.workload.request import NO_ATTRIBUTES, Attributes, Request

NS: float = 1e9
CHUNK = 4096


@dataclass(frozen=True, slots=True)
class Setup:
    """A case's engine, resolved against the libraries."""

    model: Model
    device: Device
    engine: Engine
    limits: SchedulerLimits
    hardware: EngineLimits
    """What the predictor must know of the engine."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay gives, by request in the order of the case's rows; NaN where a request did not finish."""

    ttft_s: FloatArray
    e2e_s: FloatArray
    sent_s: FloatArray
    steps: tuple[int, int]
    """(inside the measured region, extrapolated)."""


class OpenLoop:
    """A ``RequestSource``: every request at its arrival."""

    def __init__(self, requests: list[Request]) -> None:
        self._requests = requests

    def chunks(self) -> Iterator[list[Request]]:
        """Yield the requests in bounded lists."""
        for start in range(0, len(self._requests), CHUNK):
            yield self._requests[start : start + CHUNK]


class LimitedInFlight:
    """A ``FeedbackSource``: an open-loop client that never has more than ``limit`` requests in flight."""

    think_floor_ns = 0

    def __init__(self, requests: list[Request], limit: int) -> None:
        self._requests = requests
        self._next = min(limit, len(requests))

    def initial(self) -> Iterator[list[Request]]:
        """Yield the first ``limit`` requests: no response is needed to send them."""
        first = self._requests[: self._next]
        for start in range(0, len(first), CHUNK):
            yield first[start : start + CHUNK]

    def on_end(self, request: Request, at_ns: int, status: str) -> list[Request]:  # noqa: ARG002
        """Return the next request, sent at once or at its own arrival, whichever is later."""
        if self._next >= len(self._requests):
            return []
        following = self._requests[self._next]
        self._next += 1
        following.arrival_ns = max(following.arrival_ns, at_ns)
        return [following]


def set_up(case: Case) -> Setup:
    """Resolve a case's model, device and engine.

    Raises InputError for an unknown model or device, or a model that does not fit.
    """
    model, device = match_model(case.model, case.quantization), match_device(case.device)
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
    blocks = engine.num_kv_blocks or plan_memory(model, device, case.tensor_parallel, 1, hardware).kv_blocks
    limits = scheduler_limits(engine, model, blocks, 1, macro_steps=True)
    return Setup(model, device, engine, limits, hardware)


def physical_predictor(case: Case, setup: Setup, coefficients: Coefficients) -> Predictor:
    """Return the physical step model with given coefficients."""
    return PhysicalPredictor(coefficients, setup.model, setup.device, case.tensor_parallel, 1, setup.hardware)


def frozen_predictor(case: Case, setup: Setup, config: PredictorConfig | None = None) -> Predictor:
    """Return the predictor that a frozen profile gives for a case."""
    chosen = config or PhysicalConfig(kind="physical", profile=case.profile or DEFAULT_PROFILE)
    return build_predictor(chosen, setup.model, setup.device, case.tensor_parallel, 1, setup.hardware)


DEFAULT_PROFILE = "vllm-explored"


def replay(case: Case, setup: Setup, predictor: Predictor) -> Replayed:
    """Simulate a case to its end; the predictor's coverage counts only this run's steps."""
    before = predictor.coverage.inside, predictor.coverage.extrapolated
    requests = to_requests(case.requests)
    source = LimitedInFlight(requests, case.in_flight_limit) if case.in_flight_limit else OpenLoop(requests)
    wiring = Wiring(0, 0)
    rows: list[RowBlock] = []
    totals = RequestTotals(case.replicas, ["main"], setup.limits.max_model_len, request_limits(Slo()))
    log = RequestLog(totals, [rows.append], default_model=setup.model.name)
    statics = StaticLimits(setup.limits.max_model_len, setup.limits.kv_blocks, setup.limits.block_size)
    targets = [Target(index + 1, "main", 0, statics) for index in range(case.replicas)]
    policy = POLICIES.build(Router(policy="round_robin"), Candidates(case.replicas, 0, [0] * case.replicas))
    hub = RouterHub(source, {"": Route(policy, targets)}, log, round(case.client_timeout_s * NS))
    replicas = [
        Replica(
            ReplicaSettings(index, setup.limits, 0),
            SCHEDULERS.build(setup.engine, setup.limits),
            predictor,
            ReplicaLog(0, predictor.stages),
        )
        for index in range(case.replicas)
    ]
    group = Group(replicas, {index + 1: wiring for index in range(case.replicas)}, hub.observation)
    floors = floor_model(predictor, setup.limits)
    links = [LeafLink(index + 1, 0, wiring, floors) for index in range(case.replicas)]
    conduct(hub, Coordinator(hub, links, NEVER), DirectExchange({0: group}))
    hub.close()
    after = predictor.coverage.inside, predictor.coverage.extrapolated
    return _collect(case.requests, rows, (after[0] - before[0], after[1] - before[1]))


def to_requests(table: Requests) -> list[Request]:
    """Return the rows as requests; equal prompt ids share their whole prompt's content."""
    arrival = np.rint((table.arrival_s - min(0.0, float(table.arrival_s.min()))) * NS).astype(np.int64).tolist()
    prompts, outputs = table.prompt_tokens.tolist(), table.output_tokens.tolist()
    attributes = [NO_ATTRIBUTES] * len(table)
    if table.segments is not None:
        attributes = [Attributes(segments=each) for each in table.segments]
    elif table.prompt_ids is not None:
        ids = table.prompt_ids.tolist()
        attributes = [Attributes(segments=((ids[row], prompts[row]),)) for row in range(len(table))]
    return [Request(row, arrival[row], prompts[row], outputs[row], attributes[row]) for row in range(len(table))]


def _collect(table: Requests, blocks: list[RowBlock], steps: tuple[int, int]) -> Replayed:
    ttft, e2e = np.full(len(table), np.nan), np.full(len(table), np.nan)
    sent = np.full(len(table), np.nan)
    for block in blocks:
        ids = block.column("request_id")
        arrival: Int64Array = block.column("arrival_ns")
        first, finish = block.column("first_token_ns"), block.column("finish_ns")
        is_done = (first >= 0) & (finish >= 0)
        sent[ids] = arrival / NS
        ttft[ids] = np.where(is_done, (first - arrival) / NS, np.nan)
        e2e[ids] = np.where(is_done, (finish - arrival) / NS, np.nan)
    return Replayed(ttft, e2e, sent, steps)
