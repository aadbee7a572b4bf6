"""Runs one study: plan, executor, results."""

import logging
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cluster_sim import __version__
from cluster_sim.config.loading.canonical import config_hash, resolved_yaml
from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.hardware.predictors.base import Predictor
from cluster_sim.hardware.predictors.coverage import check_coverage, total_coverage
from cluster_sim.metrics.bench_json import bench_json
from cluster_sim.metrics.run_metadata import RunMetadata
from cluster_sim.metrics.summary import summarise
from cluster_sim.output.event_trace import EVENT_TRACE_FILE, write_event_trace
from cluster_sim.output.run_directory import (
    BENCH_FILE,
    REQUESTS_FILE,
    RESOLVED_FILE,
    RunDirectory,
    default_directory,
)
from cluster_sim.recording.request_log import RequestLog
from cluster_sim.recording.request_totals import RequestTotals
from cluster_sim.routing.hub import RouterHub
from cluster_sim.simulation.composition import build_predictors
from cluster_sim.simulation.energy import energy_summary
from cluster_sim.simulation.executor_choice import ExecutorChoice, choose_executor
from cluster_sim.simulation.inline import RunOutcome, SeriesSink, run_inline
from cluster_sim.simulation.monitoring import RunMonitor
from cluster_sim.simulation.plan import Plan, make_plan
from cluster_sim.simulation.run_options import RunOptions
from cluster_sim.simulation.run_recorder import RunRecorder, new_totals
from cluster_sim.simulation.view import ProgressSink, RunView, SilentView
from cluster_sim.workload.build import input_notices, total_requests

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
    plan = make_plan(study)
    predictors = build_predictors(plan)
    metadata = plan.metadata(predictors)
    final = options.out or default_directory(study.name, config_hash(study))
    total = total_requests(study.workload)
    notices = input_notices(study.workload, study.seed)
    with ExitStack() as stack:
        directory = stack.enter_context(RunDirectory(final))
        directory.write_text(RESOLVED_FILE, resolved_yaml(study))
        series = directory.series(metadata)
        progress = stack.enter_context(view.progress(total))
        choice = executor_for(plan, predictors, options)
        _log_start(plan, metadata, choice, directory.partial)
        execute = _on_ray if choice.executor == "ray" else _inline
        outcome, placement, wall_s = execute(plan, predictors, options, directory.partial, series.add, progress)
        LOGGER.info("the simulation took %.3f s; summing up", wall_s)
        LOGGER.debug("placement %s, traffic %s", placement, outcome.hub.traffic)
        totals = new_totals(metadata)
        totals.restore(outcome.hub.totals)
        summary = _summary(plan, predictors, metadata, totals, outcome, series.max_waiting)
        gaps = [replica.gaps for replica in outcome.replicas]
        directory.write_json(
            BENCH_FILE, bench_json(metadata, totals, gaps, time.strftime("%Y%m%d-%H%M%S"), **_load(study))
        )
        manifest = _manifest(study, choice, placement, wall_s, outcome)
        path = directory.complete(summary, manifest)
    requests = summary["requests"]["total"]
    speed = f"{requests / wall_s:,.0f} requests/s, {summary['simulated_s'] / wall_s:,.0f} times real time"
    notes = (
        *notices,
        f"{requests:,} requests in {wall_s:.2f} s on executor {choice.executor}: {speed}",
        *([f"executor {choice.reason}"] if choice.reason else []),
        f"digest {outcome.hub.digest}",
        f"results in {path}",
    )
    view.finished(summary, notes)
    return RunResult(path, summary, outcome.hub.digest)


def _load(study: Study) -> dict[str, Any]:
    """Return what the study says of its load under the names of ``vllm bench serve``."""
    workload = study.workload
    arrivals = getattr(workload, "arrivals", None)
    rates = (getattr(each, "request_rate", None) for each in (arrivals, workload))
    return {
        "request_rate": next((rate for rate in rates if rate is not None), "inf"),
        "burstiness": getattr(arrivals, "burstiness", 1.0),
        "max_concurrency": getattr(workload, "max_concurrency", None),
    }


def _log_start(plan: Plan, metadata: RunMetadata, choice: ExecutorChoice, folder: Path) -> None:
    """Log what was decided before time starts."""
    for pool, resolved in zip(metadata.pools, plan.pools, strict=True):
        replicas = f"{pool.replicas} replicas of {pool.model} on {pool.gpus_per_replica} x {pool.device}"
        LOGGER.info("pool %s: %s, %d KV blocks each, %s", pool.name, replicas, pool.kv_blocks, pool.predictor_label)
        LOGGER.debug("pool %s: %s", pool.name, resolved.limits)
    LOGGER.info("executor %s", choice.reason or choice.executor)
    LOGGER.info("writing to %s", folder)


def _inline(
    plan: Plan,
    predictors: list[Predictor],
    options: RunOptions,
    folder: Path,
    series: SeriesSink,
    progress: ProgressSink,
) -> tuple[RunOutcome, dict[str, Any], float]:
    """Run in this process; return what the run leaves, its placement (none), and its wall seconds."""
    started_s = time.perf_counter()
    metadata = plan.metadata(predictors)
    books = RunRecorder(metadata, folder / REQUESTS_FILE, is_traced=plan.study.run.event_trace)

    def watch(hub: RouterHub, log: RequestLog) -> RunMonitor:
        return RunMonitor(
            metadata,
            hub,
            log,
            progress,
            options.metrics_port,
            options.speedup,
            run_labels(plan.study, "inline"),
            total_requests(plan.study.workload),
        )

    with books:
        outcome = run_inline(plan, predictors, books, series, watch)
    wall_s = time.perf_counter() - started_s
    if outcome.streams is not None:
        write_event_trace(folder / EVENT_TRACE_FILE, books.routed, outcome.streams)
    return outcome, {}, wall_s


def _on_ray(
    plan: Plan,
    predictors: list[Predictor],
    options: RunOptions,
    folder: Path,
    series: SeriesSink,
    progress: ProgressSink,
) -> tuple[RunOutcome, dict[str, Any], float]:
    """Run on Ray actors; return what the run leaves, its placement, and its wall seconds without their start."""
    from cluster_sim.simulation.launcher import run_on_ray

    labels = run_labels(plan.study, "ray")
    return run_on_ray(plan, predictors, options, folder / REQUESTS_FILE, series, progress, labels)


def executor_for(plan: Plan, predictors: list[Predictor], options: RunOptions) -> ExecutorChoice:
    """Return the executor that the options or the study name; for ``auto`` the one that the coupling factor says."""
    executor = options.executor or plan.study.run.executor
    if plan.study.run.event_trace:
        if executor == "ray":
            raise InputError("run.event_trace: true is recorded in one process; set run.executor: inline")
        return ExecutorChoice("inline", "inline: run.event_trace is recorded in one process")
    if executor == "inline":
        if options.address is not None:
            raise InputError(
                f"--address {options.address}: the executor inline joins no cluster; leave it out, or use ray"
            )
        return ExecutorChoice("inline", "")
    advised = choose_executor(plan, predictors)
    if executor == "ray" and advised.executor != "ray":
        return ExecutorChoice("ray", f"ray, as asked; auto would choose {advised.reason}", advised.coupling_factor)
    return advised


def run_labels(study: Study, executor: str) -> dict[str, str]:
    """Return the labels that describe a run in live metrics."""
    return {"run": study.name, "version": __version__, "config_hash": config_hash(study), "executor": executor}


def _summary(
    plan: Plan,
    predictors: list[Predictor],
    metadata: RunMetadata,
    totals: RequestTotals,
    outcome: RunOutcome,
    max_waiting: int,
) -> dict[str, Any]:
    summary = summarise(
        metadata,
        totals,
        [replica.counters for replica in outcome.replicas],
        [replica.gaps for replica in outcome.replicas],
        outcome.hub.end_ns,
        outcome.hub.arrived,
        max_waiting,
    )
    coverage = total_coverage(replica.coverage for replica in outcome.replicas)
    steps = sum(coverage)
    summary["predictor_coverage"] = {
        "steps": steps,
        "measured_ratio": coverage.inside / steps if steps else None,
        "extrapolated_ratio": coverage.extrapolated / steps if steps else None,
        "error_band_percent": predictors[0].error_band_percent,
    }
    check_coverage(coverage, plan.study.predictor.max_extrapolated)
    summary["energy"] = energy_summary(plan, totals, [each.counters for each in outcome.replicas], outcome.hub.end_ns)
    return summary


def _manifest(
    study: Study, choice: ExecutorChoice, placement: dict[str, Any], wall_s: float, outcome: RunOutcome
) -> dict[str, Any]:
    return {
        "version": __version__,
        "name": study.name,
        "seed": study.seed,
        "config_hash": config_hash(study),
        "executor": choice.executor,
        "coupling_factor": choice.coupling_factor,
        "placement": placement,
        "wall_s": wall_s,
        "traffic": outcome.hub.traffic,
        "digest": outcome.hub.digest,
    }
