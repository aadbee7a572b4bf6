"""Run of one study: plan, executor, results."""

import logging
import math
import os
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cluster_sim import __version__
from cluster_sim.config.loading.canonical import config_hash, resolved_yaml
from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.hardware.predictors.coverage import check_coverage, total_coverage
from cluster_sim.metrics.bench_json import OfferedLoad, bench_json
from cluster_sim.metrics.encoder_figures import EncoderWork
from cluster_sim.metrics.imbalance import ImbalanceTally
from cluster_sim.metrics.live import TrafficLive
from cluster_sim.metrics.occupancy import OccupancyTally
from cluster_sim.metrics.request_totals import RequestTotals
from cluster_sim.metrics.run_metadata import RunMetadata
from cluster_sim.metrics.run_records import RunRecords
from cluster_sim.metrics.run_summary import summarise
from cluster_sim.metrics.window import Measured
from cluster_sim.output.counters_table import COUNTERS_FILE, RANK_COUNTERS_FILE, write_counters
from cluster_sim.output.event_trace import EVENT_TRACE_FILE, write_event_trace
from cluster_sim.output.request_rows import read_blocks, repeated_ids
from cluster_sim.output.run_directory import (
    BENCH_FILE,
    REQUESTS_FILE,
    RESOLVED_FILE,
    RunDirectory,
    default_directory,
)
from cluster_sim.output.run_identity import RESOLVED_KEY, RunIdentity, resolved_hash
from cluster_sim.output.run_profile import PROFILE_FILE, profiled
from cluster_sim.recording.series_columns import ticks_before
from cluster_sim.shown_values import counted
from cluster_sim.simulation.disk_checkpoints import DiskCheckpoints
from cluster_sim.simulation.executor import RunOutcome, RunOutputs, SeriesSink, of_replicas
from cluster_sim.simulation.executor_choice import ExecutorChoice, choose_executor
from cluster_sim.simulation.fleet_links import link_warnings
from cluster_sim.simulation.fleet_scaling import cold_start_ns
from cluster_sim.simulation.fleet_sites import site_warnings
from cluster_sim.simulation.idle_replicas import idle_replica
from cluster_sim.simulation.inline import InlineExecutor
from cluster_sim.simulation.launcher import ray_executor
from cluster_sim.simulation.measurement import measure, peaks_of, window_rule
from cluster_sim.simulation.memory import memory_now
from cluster_sim.simulation.model_names import nameless_notice
from cluster_sim.simulation.monitor_settings import MonitorSettings
from cluster_sim.simulation.outcome_checks import check_arrivals, check_laws, check_service
from cluster_sim.simulation.plan import Plan, make_plan
from cluster_sim.simulation.resources import expected_duration_s, needs_of, shortages
from cluster_sim.simulation.run_energy import energy_summary
from cluster_sim.simulation.run_options import RunOptions
from cluster_sim.simulation.run_recorder import new_totals
from cluster_sim.simulation.simulation import Simulation
from cluster_sim.simulation.view import RunView, SilentView
from cluster_sim.workload.build import build_source, first_arrival_ns

if TYPE_CHECKING:
    from cluster_sim.simulation.live_metrics import LiveMetrics

SILENT: Final = SilentView()
LOGGER: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunResult:
    """A finished run."""

    directory: Path
    summary: dict[str, Any]
    digest: str


def run_study(study: Study, options: RunOptions, view: RunView = SILENT) -> RunResult:
    """Run a study and write its directory; ``view`` shows its progress and its results.

    Raises InputError for wrong input (nothing is left behind) and UnfinishedError when the run cannot go on.
    """
    if study.run.detail == "estimate" and options.origin is None:
        from cluster_sim.simulation.mean_field.estimate_run import run_estimate

        return run_estimate(study, options, view)
    plan = make_plan(study, can_branch=options.origin is not None)
    simulation = plan.simulation()
    metadata = replace(simulation.metadata, config_hash=config_hash(study))
    simulation = replace(simulation, metadata=metadata, is_paranoid=options.is_paranoid)
    choice = choose(study, simulation, options)
    if options.is_profiled and choice.executor != "inline":
        raise InputError(
            f"--profile: the executor {choice.executor} simulates in processes of its own, which are not profiled; "
            "add --executor inline"
        )
    labels = run_labels(study, choice.executor)
    if options.metrics is None:
        return _run_into_directory(study, plan, simulation, choice, options, view)
    from cluster_sim.simulation.live_metrics import live_metrics

    final = options.out or default_directory(study.name, config_hash(study))
    partial = final.with_name(f"{final.name}.partial")
    with live_metrics(metadata, run_name(study), labels, options.metrics, partial, resumes=options.resumes) as live:
        result = _run_into_directory(study, plan, simulation, choice, options, view, live)
        live.linger()
    return result


def _run_into_directory(
    study: Study,
    plan: Plan,
    simulation: Simulation,
    choice: ExecutorChoice,
    options: RunOptions,
    view: RunView,
    live: "LiveMetrics | None" = None,
) -> RunResult:
    """Run a study and write its directory, with live metrics if they are served."""
    final = options.out or default_directory(study.name, config_hash(study))
    notices: list[str] = []
    first_ns = first_arrival_ns(build_source(study.workload, study.seed, notices))
    check_arrivals(simulation.metadata.end_ns, first_ns)
    with ExitStack() as stack:
        directory = stack.enter_context(RunDirectory(final, resumes=options.resumes))
        directory.write_text(RESOLVED_FILE, resolved_yaml(study))
        series = directory.series(simulation.metadata)
        progress = stack.enter_context(view.progress(simulation.total_requests))
        _log_start(plan, simulation.metadata, choice, directory.partial)
        needs = needs_of(simulation, expected_duration_s(study, simulation.total_requests))
        for shortage in shortages(needs, directory.partial, memory_now()):
            LOGGER.warning(shortage)
        on_ray = choice.executor == "ray"
        executor = ray_executor(study.run, options.address, options.min_cpus) if on_ray else InlineExecutor()
        monitor = MonitorSettings(options.speedup, is_live=live is not None)
        requests_path = directory.partial / REQUESTS_FILE
        tally = OccupancyTally(simulation.metadata)
        imbalance = ImbalanceTally(simulation.metadata, simulation.series_interval_ns)
        sink = both(series.add, of_replicas(both(tally.add, imbalance.add)))
        checkpoints = DiskCheckpoints(study, directory.partial, series, options.origin, resumes=options.resumes)
        for replica, columns in series.replay(checkpoints.series_parts):
            sink(replica, columns)
        source = None if live is None else live.source
        outputs = RunOutputs(requests_path, sink, progress, monitor, checkpoints, source)
        with profiled(directory.partial / PROFILE_FILE) if options.is_profiled else nullcontext():
            outcome = executor.run(simulation, outputs)
        LOGGER.info("the simulation took %.3f s; summing up", outcome.wall_s)
        LOGGER.debug("placement %s, traffic %s", outcome.placement, outcome.hub.traffic)
        if outcome.streams is not None:
            rows = read_blocks(requests_path, [pool.name for pool in simulation.metadata.pools])
            write_event_trace(directory.partial / EVENT_TRACE_FILE, rows, outcome.streams)
        totals = new_totals(simulation.metadata)
        totals.restore(outcome.hub.totals)
        if options.needs_service:
            check_service(simulation.metadata, totals, outcome.hub.arrived)
        joined = outcome.hub.joined_pools
        totals.reserve(len(outcome.replicas))
        counters = [replica.counters for replica in outcome.replicas]
        identity = RunIdentity(simulation.metadata.config_hash, outcome.hub.digest)
        write_counters(directory.partial / COUNTERS_FILE, counters, identity)
        ranks = [rank for replica in outcome.replicas for rank in replica.ranks]
        if ranks:
            write_counters(directory.partial / RANK_COUNTERS_FILE, ranks, identity)
        if live is not None:
            _finish_live(live, simulation.metadata, outcome, totals)
        series.add_replicas(joined, [simulation.metadata.pools[pool].kv_blocks for pool in joined])
        ticks = ticks_before(outcome.hub.end_ns, simulation.series_interval_ns)
        series.note_idle(simulation.series_interval_ns, ticks)
        records = RunRecords(
            totals,
            counters,
            [replica.gaps for replica in outcome.replicas],
            outcome.hub.end_ns,
            outcome.hub.arrived,
            series.max_waiting,
            tally.pools(joined, ticks),
            imbalance.figures(joined, ticks),
            joined,
            repeated_ids(requests_path),
            outcome.hub.moved_bytes,
            EncoderWork(*(outcome.hub.encoder_work or (0, 0))),
        )
        measured = measure(window_rule(study), simulation.metadata, records, requests_path)
        summary = _summary(plan, simulation, records, measured, outcome)
        check_laws(summary["checks"])
        peaks = peaks_of(totals, requests_path)
        directory.write_json(BENCH_FILE, bench_json(simulation.metadata, records, _load(study), peaks))
        manifest = _manifest(study, simulation, choice, outcome)
        path = directory.complete(summary, {**manifest, "snapshots": checkpoints.costs._asdict()})
    requests, wall_s = outcome.hub.arrived, outcome.wall_s
    speed = f"{requests / wall_s:,.0f} requests/s, {_magnitude(summary['simulated_s'] / wall_s)} times real time"
    notes = (
        *notices,
        *study.router.notices,
        *site_warnings(study.fleet),
        *link_warnings(study.fleet),
        *(nameless_notice(study.workload.model, plan.models) if summary["reasons"]["no_model"] else ()),
        *step_time_notes(simulation.metadata),
        f"{counted(requests, 'request')} in {wall_s:.2f} s on executor {choice.executor}: {speed}",
        *([f"executor {choice.reason}"] if choice.reason and options.is_verbose else []),
        f"digest {outcome.hub.digest}",
        f"results in {path}",
    )
    view.finished(summary, notes)
    return RunResult(path, summary, outcome.hub.digest)


def _finish_live(live: "LiveMetrics", metadata: RunMetadata, outcome: RunOutcome, totals: RequestTotals) -> None:
    """Serve the figures of the finished run."""
    from cluster_sim.simulation.live_metrics import final_snapshot

    hub = outcome.hub
    assert hub.fleet is not None
    live.finish(
        final_snapshot(
            metadata,
            live.members,
            totals,
            outcome.replicas,
            hub.fleet,
            arrived=hub.arrived,
            end_ns=hub.end_ns,
            wall_s=outcome.wall_s,
            joined_pools=hub.joined_pools,
            traffic=TrafficLive(**hub.traffic),
        )
    )


def step_time_notes(metadata: RunMetadata) -> list[str]:
    """Return where the step times of each pool come from, and why, where the study left that open."""
    chosen = [pool for pool in metadata.pools if pool.predictor_choice]
    return [f"step times of pool {pool.name}: {pool.predictor_label}: {pool.predictor_choice}" for pool in chosen]


def both(first: SeriesSink, second: SeriesSink) -> SeriesSink:
    """Return a sink that hands the rows of a series to two others."""

    def add(replica: int, columns: dict[str, Any]) -> None:
        first(replica, columns)
        second(replica, columns)

    return add


def _load(study: Study) -> OfferedLoad:
    """Return the load that the study asks for."""
    workload = study.workload
    arrivals = getattr(workload, "arrivals", None)
    rates = (getattr(part, "request_rate", None) for part in (arrivals, workload))
    return OfferedLoad(
        request_rate=next((rate for rate in rates if rate is not None and math.isfinite(rate)), "inf"),
        burstiness=getattr(arrivals, "burstiness", 1.0),
        max_concurrency=getattr(workload, "max_concurrency", None),
    )


def _log_start(plan: Plan, metadata: RunMetadata, choice: ExecutorChoice, folder: Path) -> None:
    """Log the decisions made before time starts."""
    for pool, resolved in zip(metadata.pools, plan.pools, strict=True):
        replicas = f"{counted(pool.replicas, 'replica')} of {pool.model} on {pool.gpus_per_replica} x {pool.device}"
        LOGGER.info("pool %s: %s, %d KV blocks each, %s", pool.name, replicas, pool.kv_blocks, pool.predictor_label)
        LOGGER.debug("pool %s: %s", pool.name, resolved.limits)
    LOGGER.info("executor %s", choice.reason or choice.executor)
    LOGGER.info("writing to %s", folder)


def choose(study: Study, simulation: Simulation, options: RunOptions) -> ExecutorChoice:
    """Return the executor that the options or the study name; for ``auto`` the one that the coupling factor says."""
    executor = options.executor or study.run.executor
    _check_cpus(executor, options)
    if executor == "inline":
        if options.address is not None:
            raise InputError(
                f"--address {options.address}: the executor inline joins no cluster; leave it out, or use ray"
            )
        return ExecutorChoice("inline", "")
    advised = choose_executor(simulation)
    if executor == "ray" and advised.executor != "ray":
        return ExecutorChoice("ray", f"ray, as asked; auto would choose {advised.reason}", advised.coupling_factor)
    return advised


def _check_cpus(executor: str, options: RunOptions) -> None:
    """Raise InputError for CPUs that no cluster can come to have."""
    wanted, own = options.min_cpus, len(os.sched_getaffinity(0))
    if wanted is None:
        return
    if not math.isfinite(wanted):
        raise InputError(f"--min-cpus {wanted}: must be a finite number")
    if executor == "inline":
        raise InputError(f"--min-cpus {wanted:g}: the executor inline joins no cluster; leave it out, or use ray")
    if options.address is None and wanted > own:
        raise InputError(
            f"--min-cpus {wanted:g}: a local cluster has the {counted(own, 'CPU')} of this machine, and no worker "
            "joins it; ask for fewer, or name a cluster with --address"
        )


def run_name(study: Study) -> str:
    """Return the label ``run`` of every series of a run: that of its own directory, without ``runs/``."""
    return default_directory(study.name, config_hash(study)).name


def run_labels(study: Study, executor: str) -> dict[str, str]:
    """Return the labels that describe a run in live metrics."""
    return {"name": study.name, "version": __version__, "config_hash": config_hash(study), "executor": executor}


def _summary(
    plan: Plan, simulation: Simulation, records: RunRecords, measured: Measured | None, outcome: RunOutcome
) -> dict[str, Any]:
    summary = summarise(simulation.metadata, records, measured)
    coverage = total_coverage(replica.coverage for replica in outcome.replicas)
    steps = sum(coverage)
    summary["predictor_coverage"] = {
        "steps": steps,
        "measured_ratio": coverage.inside / steps if steps else None,
        "extrapolated_ratio": coverage.extrapolated / steps if steps else None,
        **summary["predictor_coverage"],
    }
    check_coverage(coverage, plan.study.predictor.max_extrapolated)
    summary["energy"] = energy_summary(plan, records, simulation.metadata.encoders)
    summary["idle_replicas"] = [
        idle_replica(pool, cold_start_ns(planned)) for pool, planned in zip(simulation.pools, plan.pools, strict=True)
    ]
    return summary


def _magnitude(ratio: float) -> str:
    """Return a ratio with two digits where it is small."""
    return f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.2g}"


def _manifest(study: Study, simulation: Simulation, choice: ExecutorChoice, outcome: RunOutcome) -> dict[str, Any]:
    return {
        "version": __version__,
        "name": study.name,
        "seed": study.seed,
        "config_hash": config_hash(study),
        RESOLVED_KEY: resolved_hash(resolved_yaml(study)),
        "predictors": [
            {
                "pool": pool.name,
                "predictor": pool.predictor_label,
                "predictor_choice": pool.predictor_choice,
                "error_band_case": pool.error_band.case.value,
            }
            for pool in simulation.metadata.pools
        ],
        "kernel": simulation.kernel.name,
        "kernel_reason": simulation.kernel.reason,
        "executor": choice.executor,
        "coupling_factor": choice.coupling_factor,
        "placement": outcome.placement,
        "wall_s": outcome.wall_s,
        "traffic": outcome.hub.traffic,
        "work": outcome.work.figures(outcome.wall_s),
        "digest": outcome.hub.digest,
    }
