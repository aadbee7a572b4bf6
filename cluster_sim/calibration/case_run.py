"""Simulated run of a measured case, in this process.

Design: the inline executor runs the case's requests in place of a study's workload, without a run directory.  What the
client did is modelled, not read from the measurement: a client that keeps at most N requests in flight sends request
N + j when the j-th response has come, and not before its scheduled arrival.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from cluster_sim.calibration.case import Case, FloatArray, Requests
from cluster_sim.calibration.library_match import match_device, match_model
from cluster_sim.errors import InputError
from cluster_sim.hardware.interconnect.transfer_path import FleetLinks, PoolPlace, Port
from cluster_sim.hardware.memory_plan import host_block_us, plan_memory
from cluster_sim.hardware.predictors.coverage import Coverage, total_coverage
from cluster_sim.hardware.predictors.predictor_interface import Predictor
from cluster_sim.hardware.replica_hardware import ExpertSharding, ReplicaHardware
from cluster_sim.metrics.objectives import Slo
from cluster_sim.metrics.occupancy import OccupancyTally
from cluster_sim.metrics.run_metadata import PoolMetadata, RunMetadata
from cluster_sim.recording.series_columns import ticks_before
from cluster_sim.recording.statuses import FINISHED, STATUSES
from cluster_sim.routing.handover.connector_interface import default_handover
from cluster_sim.routing.handover.kv_layout import kv_layout
from cluster_sim.routing.policies.round_robin import RoundRobinOptions
from cluster_sim.routing.policy_interface import build_policy
from cluster_sim.serving.limits_resolution import scheduler_limits, sized_for_host
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.data_parallel import build_scheduler
from cluster_sim.serving.schedulers.engine_options import EngineOptions, engine_options
from cluster_sim.simulation.executor import RunOutputs, of_replicas
from cluster_sim.simulation.handover_plan import HandoverPlan
from cluster_sim.simulation.inline import InlineExecutor
from cluster_sim.simulation.parallelism import rank_limits
from cluster_sim.simulation.simulation import SimulatedPool, Simulation
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.columns import Columns
from cluster_sim.workload.feedback.client_limit import LimitedClient
from cluster_sim.workload.request import Attributes
from cluster_sim.workload.request_stream import RequestStream
from cluster_sim.workload.source import FeedbackSource, RequestSource


@dataclass(frozen=True, slots=True)
class ResolvedCase:
    """A case with model, device and engine resolved against the libraries."""

    case: Case
    engine: EngineOptions
    limits: SchedulerLimits
    hardware: ReplicaHardware
    """Data-parallel ranks share the experts of a replica; ranks of a dense model are replicas of their own."""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """Times of a run, by request in the order of the case's rows; NaN where a request did not finish."""

    ttft_s: FloatArray
    e2e_s: FloatArray
    sent_s: FloatArray
    coverage: Coverage
    is_on_edge: bool | None = None
    """Whether it sat near saturation; None where that was not watched."""
    fullest_ratio: float = 0.0
    """99th percentile of the share of slots or KV blocks in use, the fuller of the two; 0 where it was not watched."""


class CaseColumns:
    """A ``ColumnSource``: the requests of a case; equal prompt ids share their whole prompt's content."""

    def __init__(self, table: Requests) -> None:
        self._table = table

    def columns(self) -> Iterator[Columns]:
        """Yield all rows at once."""
        table = self._table
        attributes: list[Attributes] | None = None
        if table.segments is not None:
            attributes = [Attributes(segments=segments) for segments in table.segments]
        elif table.prompt_ids is not None:
            whole_prompts = zip(table.prompt_ids.tolist(), table.prompt_tokens.tolist(), strict=True)
            attributes = [Attributes(segments=(prompt,)) for prompt in whole_prompts]
        arrival_ns = np.rint((table.arrival_s - min(0.0, float(table.arrival_s.min()))) * NS_PER_S).astype(np.int64)
        yield Columns(arrival_ns, table.prompt_tokens, table.output_tokens, attributes)


def resolve_case(case: Case) -> ResolvedCase:
    """Resolve a case's model, device and engine.

    Raises InputError for an unknown model or device, or a model that does not fit.
    """
    model, device = match_model(case.model, case.quantization), match_device(case.device)
    experts = ExpertSharding(case.replicas if case.is_data_parallel and model.is_moe else 1)
    try:
        engine = engine_options(**case.engine).resolved(device, model)
    except ValueError as error:
        raise InputError(f"{case.dataset}/{case.run}: {error}") from None
    settings = engine.hardware_settings(device)
    if case.kv_cache_dtype:
        settings = replace(settings, kv_cache_dtype=case.kv_cache_dtype)
    hardware = ReplicaHardware(model, device, settings, case.tensor_parallel, experts=experts)
    blocks = engine.num_kv_blocks or plan_memory(hardware).kv_blocks
    engine = sized_for_host(engine, hardware)
    if engine.needs_host_load_time:
        engine = engine.model_copy(update={"host_load_block_us": host_block_us(hardware)})
    limits = scheduler_limits(engine, model, blocks, 1, macro_steps=True)
    return ResolvedCase(case, engine, limits, hardware)


def simulation_of(resolved: ResolvedCase, predictor: Predictor) -> Simulation:
    """Return the simulation of a case: one pool behind links without delay, or one for prompts and one for decoding,
    and the case's client.
    """
    case, hardware, ranks = resolved.case, resolved.hardware, resolved.hardware.experts.ranks
    limits = rank_limits(resolved.limits, ranks)
    pool = SimulatedPool(
        name="main",
        model=hardware.model.name,
        replicas=(case.replicas - case.prefill_replicas) // ranks,
        first_replica=case.prefill_replicas // ranks,
        limits=limits,
        predictor=predictor,
        scheduler=partial(build_scheduler, resolved.engine, limits),
    )
    metadata = PoolMetadata(
        name=pool.name,
        model=pool.model,
        device=hardware.device.name,
        replicas=pool.replicas,
        gpus_per_replica=case.tensor_parallel * ranks,
        price_usd_per_gpu_hour=hardware.device.price_usd_per_hour,
        predictor_label=predictor.label,
        kv_blocks=limits.kv_blocks * ranks,
        max_model_tokens=limits.max_model_len,
        max_num_seqs=limits.max_num_seqs * ranks,
    )
    pools, metadata_of_pools, handover = [pool], [metadata], None
    if case.prefill_replicas:
        pools = [
            replace(pool, name="prefill", role="prefill", first_replica=0, replicas=case.prefill_replicas),
            replace(pool, role="decode"),
        ]
        metadata_of_pools.insert(0, replace(metadata, name="prefill", replicas=case.prefill_replicas))
        handover = node_handover(resolved)
    return Simulation(
        pools=tuple(pools),
        source=partial(client_of, case),
        policy=partial(build_policy, RoundRobinOptions()),
        prefill_policy=partial(build_policy, RoundRobinOptions()),
        reports_chunks=handover is not None and handover.reports_chunks,
        components=() if handover is None else (handover.component,),
        links=node_links(hardware, pools),
        metadata=RunMetadata(f"{case.dataset}/{case.run}", 0, tuple(metadata_of_pools), Slo()),
        reacts=bool(case.in_flight_limit),
        client_timeout_ns=round(case.client_timeout_s * NS_PER_S),
        keeps_rows=True,
    )


def node_handover(resolved: ResolvedCase) -> HandoverPlan:
    """Return the hand-over between the two pools of a case, by the engine's own connector."""
    options = default_handover(resolved.engine.kind)
    if options is None:
        raise InputError(f"{resolved.case.dataset}/{resolved.case.run}: {resolved.engine.kind} hands no requests over")
    layout = kv_layout(resolved.hardware)
    return HandoverPlan(options, {1: options}, {0: layout, 1: layout})


def node_links(hardware: ReplicaHardware, pools: Sequence[SimulatedPool]) -> FleetLinks:
    """Return what joins pools on one node: the links between its GPUs."""
    device = hardware.device
    port = Port(device.interconnect.bandwidth_bytes_per_s, device.interconnect.latency_us)
    gpus = hardware.tensor_parallel
    return FleetLinks(tuple(PoolPlace(pool.name, gpus, device.gpus_per_node, port) for pool in pools))


def client_of(case: Case) -> RequestSource | FeedbackSource:
    """Return the source of a case's requests."""
    columns = CaseColumns(case.requests)
    return LimitedClient(columns, case.in_flight_limit, 0) if case.in_flight_limit else RequestStream(columns)


def run_case(resolved: ResolvedCase, predictor: Predictor, *, is_watched: bool = False) -> CaseResult:
    """Simulate a case to its end; ``is_watched`` says whether to tell if it sits near saturation."""
    simulation = simulation_of(resolved, predictor)
    tally = OccupancyTally(simulation.metadata)
    if is_watched:
        simulation = replace(simulation, series_interval_ns=NS_PER_S)
    outcome = InlineExecutor().run(simulation, RunOutputs(series=of_replicas(tally.add)))
    ttft, e2e, sent = (np.full(len(resolved.case.requests), np.nan) for _ in range(3))
    for block in outcome.hub.rows or []:
        ids, arrival_ns, first_ns, finish_ns = (
            block.column(name) for name in ("request_id", "arrival_ns", "first_token_ns", "finish_ns")
        )
        is_done = block.column("status") == STATUSES.index(FINISHED)
        sent[ids] = arrival_ns / NS_PER_S
        ttft[ids] = np.where(is_done, (first_ns - arrival_ns) / NS_PER_S, np.nan)
        e2e[ids] = np.where(is_done, (finish_ns - arrival_ns) / NS_PER_S, np.nan)
    coverage = total_coverage(replica.coverage for replica in outcome.replicas)
    if not is_watched:
        return CaseResult(ttft, e2e, sent, coverage)
    occupancies = tally.pools(ticks=ticks_before(outcome.hub.end_ns, simulation.series_interval_ns))
    fullest_ratio = max(ratio or 0.0 for occupancy in occupancies for ratio in occupancy)
    is_on_edge = any(occupancy.is_on_edge for occupancy in occupancies)
    return CaseResult(ttft, e2e, sent, coverage, is_on_edge, fullest_ratio)
