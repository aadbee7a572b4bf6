"""Replications of a study: runs that differ in their random numbers alone, and what they say together.

Design.  Replication 0 is the study as it is; the others have seeds that follow from the study's seed and their number,
so that two studies with one seed share their random numbers run by run (common random numbers) and their figures can
be compared in pairs.  A trace is the same at every seed: its further replications are bootstrapped from it.  Rows stay
in memory; a run writes no file unless its whole summary is wanted.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.metrics.intervals import Estimate, mean_estimate
from cluster_sim.metrics.replicated_quantiles import ReplicatedValues
from cluster_sim.metrics.run_summary import distribution_s, merged
from cluster_sim.metrics.student_t import CONFIDENCE
from cluster_sim.metrics.verdicts import Verdict, verdict_of, worst
from cluster_sim.metrics.whole_run import limited_figures
from cluster_sim.metrics.window import NONE, find_window
from cluster_sim.output.request_rows import read_rows
from cluster_sim.output.run_directory import REQUESTS_FILE
from cluster_sim.own_folder import own_folder
from cluster_sim.simulation.executor import RunOutputs
from cluster_sim.simulation.inline import InlineExecutor
from cluster_sim.simulation.measurement import window_rule
from cluster_sim.simulation.plan import make_plan
from cluster_sim.simulation.run_options import RunOptions
from cluster_sim.simulation.run_recorder import new_totals
from cluster_sim.study.limited_figures import LoadLimit, load_limits
from cluster_sim.study.request_sample import METRICS, RequestSample, joined_blocks, request_sample
from cluster_sim.study.summary_figures import numbers_of
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.build import build_columns
from cluster_sim.workload.kinds.trace import TraceWorkload
from cluster_sim.workload.sampling.random_streams import Stream
from cluster_sim.workload.traces.bootstrap import Bootstrap

Floats = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

LEAST_REPLICATIONS: Final = 5
"""Fewer say little about how much they differ."""
MOST_REPLICATIONS: Final = 30
ROUNDING: Final = 1e-9
"""Share of the requests that is none: what is left of 1 - 0.9 and the like."""
WINDOWS_OF_TRACE: Final = 20
"""Windows into which a trace is cut for its bootstrap: each keeps the bursts inside it."""
WHOLE_RUN: Final = "whole_run."
"""Begins the names of limited figures of the whole run, for runs that are not measured whole."""
_SEED_BITS: Final = 62


def replication_seed(seed: int, number: int) -> int:
    """Return the seed of a replication; that of number 0 is the study's own."""
    return seed if not number else int(Stream(seed, "replication").uniform(number) * (1 << _SEED_BITS))


def replication_of(study: Study, number: int) -> Study:
    """Return the study as replication ``number`` runs it."""
    if not number:
        return study
    workload = study.workload
    if isinstance(workload, TraceWorkload) and workload.bootstrap is None and workload.arrivals is None:
        workload = workload.model_copy(update={"bootstrap": trace_bootstrap(workload, study.seed)})
    return study.model_copy(update={"seed": replication_seed(study.seed, number), "workload": workload})


def trace_bootstrap(workload: TraceWorkload, seed: int, least_requests: int = 0) -> Bootstrap:
    """Return how a trace is resampled to as many requests as it has, or ``least_requests`` if that is more."""
    blocks = list(build_columns(workload, seed).columns())
    span_s = (int(blocks[-1].arrival_ns[-1]) + 1) / NS_PER_S
    return Bootstrap(window_s=span_s / WINDOWS_OF_TRACE, count=max(sum(map(len, blocks)), least_requests))


@dataclass(frozen=True, slots=True)
class ReplicationTask:
    """One run to make, self-contained so that it can travel to another machine."""

    study: Study
    """As it is run, its seed included."""
    number: int = 0
    warm_up_ratio: float | None = None
    """Share of the requests, the first to arrive, that is not measured; None for the study's own window."""
    has_summary: bool = False
    """Whether every figure of the summary is wanted, not only latencies."""


@dataclass(frozen=True, slots=True)
class Replication:
    """The result of one run."""

    number: int
    requests: int
    samples: dict[str, Floats]
    """Measured values by name, for example ``ttft_s``, or ``tenant a: ttft_s`` for a limited class; float64[n] in order
    of arrival, infinite for lost requests.
    """
    lost: dict[str, int]
    """Requests that did not finish, by status and reason."""
    residences: float
    """Length of the run in mean times that a request is in the system."""
    present: Floats
    """Mean number of requests in the system over equal batches of the measured arrivals."""
    figures: dict[str, float] = field(default_factory=dict)
    """By dotted name: those of gaps between tokens, or all of the summary."""

    @property
    def lost_ratio(self) -> float:
        """The share of the requests that did not finish."""
        return sum(self.lost.values()) / max(self.requests, 1)


def check_full_runs(study: Study) -> None:
    """Raise InputError for a study whose runs are estimates, of which nothing can be judged."""
    if study.run.detail != "high":
        raise InputError(
            f"run.detail: {study.run.detail} has no requests by which limits are judged; leave it out, or set high"
        )


def run_replication(task: ReplicationTask) -> Replication:
    """Make one run in this process.

    Raises InputError if its study is wrong, UnfinishedError if it cannot go on.
    """
    study = task.study
    check_full_runs(study)
    ratio = task.warm_up_ratio
    if task.has_summary:
        sample, figures = _run_with_summary(study, ratio)
    else:
        sample, figures = _run_in_memory(study, ratio)
    samples = {name: sample.measured(name) for name in METRICS}
    for limit in load_limits(study.slo):
        if limit.match is not None:
            samples[limit.sample] = sample.measured(limit.limit.metric, limit.match)
    return Replication(task.number, sample.count, samples, sample.lost, sample.residences, sample.present(), figures)


@dataclass(frozen=True, slots=True)
class Replications:
    """Several runs of one study, in the order of their numbers."""

    runs: tuple[Replication, ...]
    confidence: float = CONFIDENCE

    def figure(self, name: str) -> Estimate:
        """Return a figure of the summary by its dotted name, over the runs that have it, with Student's interval.

        Raises KeyError if no run has it.
        """
        values = [run.figures[name] for run in self.runs if name in run.figures]
        if not values:
            raise KeyError(name)
        return mean_estimate(values, self.confidence)

    def figures(self) -> dict[str, Estimate]:
        """Return every figure that any run has."""
        names = dict.fromkeys(name for run in self.runs for name in run.figures)
        return {name: self.figure(name) for name in names}

    def values(self, sample: str) -> ReplicatedValues | None:
        """Return the values of a latency, for example ``ttft_s``; None if no run has any."""
        samples = [run.samples[sample] for run in self.runs if len(run.samples.get(sample, ()))]
        return ReplicatedValues(samples) if samples else None

    def mean(self, sample: str) -> Estimate | None:
        """Return the mean of a latency over all requests; None if no request has it."""
        values = self.values(sample)
        return None if values is None else values.mean_estimate(self.confidence)

    def quantile(self, sample: str, rank: float) -> Estimate | None:
        """Return a quantile of a latency over all requests; None if no request has it."""
        values = self.values(sample)
        return None if values is None else values.quantile_estimate(rank, self.confidence)

    def limited(self, limit: LoadLimit) -> Estimate | None:
        """Return the figure that a limit is on; None if no request has it."""
        kind = limit.limit
        if limit.is_of_gaps:
            name = f"{kind.metric}.{kind.percentile}"
            return self.figure(name) if any(name in run.figures for run in self.runs) else None
        return self.mean(limit.sample) if kind.is_mean else self.quantile(limit.sample, kind.rank)

    def verdict(self, limit: LoadLimit) -> Verdict:
        """Return whether a limit is met or missed, or the runs do not say; met if no request has the figure.

        A percentile's limit also has to be met or missed by the share of requests beyond it: two overloaded runs among
        five make the percentile of all a matter of these two.
        """
        estimate = self.limited(limit)
        if estimate is None:
            return Verdict.MET
        if np.isinf(estimate.value):
            return Verdict.MISSED
        kind = limit.limit
        verdict = verdict_of(kind.limit_s, estimate.value, estimate.interval)
        values = None if limit.is_of_gaps or kind.is_mean else self.values(limit.sample)
        if values is None:
            return verdict
        shares = values.share_interval(kind.limit_s, self.confidence)
        of_shares = verdict_of(1 - kind.rank + ROUNDING, values.share_above(kind.limit_s), shares)
        return verdict if verdict is of_shares else Verdict.TOO_CLOSE

    def verdicts(self, limits: Sequence[LoadLimit]) -> dict[str, Verdict]:
        """Return the verdict on each limit by its name."""
        return {limit.name: self.verdict(limit) for limit in limits}

    def worst_verdict(self, limits: Sequence[LoadLimit]) -> Verdict:
        """Return the worst of the verdicts."""
        return worst(self.verdict(limit) for limit in limits)


RunAll = Callable[[list[ReplicationTask]], Iterator[Replication]]
"""Makes the runs, possibly in parallel, and yields them in the order of the tasks."""


def one_after_the_other(tasks: list[ReplicationTask]) -> Iterator[Replication]:
    """Make the runs in this process."""
    return map(run_replication, tasks)


def replicate(
    study: Study,
    count: int,
    *,
    has_summary: bool = True,
    run_all: RunAll = one_after_the_other,
    confidence: float = CONFIDENCE,
    first: int = 0,
) -> Replications:
    """Return ``count`` replications of a study, from number ``first`` on."""
    tasks = [
        ReplicationTask(replication_of(study, number), number, has_summary=has_summary)
        for number in range(first, first + count)
    ]
    return Replications(tuple(run_all(tasks)), confidence)


def replicate_until(
    study: Study,
    is_enough: Callable[[Replications], bool],
    *,
    least: int = LEAST_REPLICATIONS,
    most: int = MOST_REPLICATIONS,
    has_summary: bool = True,
    run_all: RunAll = one_after_the_other,
) -> Replications:
    """Return replications of a study, half as many again each time until ``is_enough`` or there are ``most``.

    ``precise_to`` and ``decided`` give such conditions.
    """
    found = replicate(study, min(least, most), has_summary=has_summary, run_all=run_all)
    while len(found.runs) < most and not is_enough(found):
        further = min(max(len(found.runs) // 2, 1), most - len(found.runs))
        more = replicate(study, further, has_summary=has_summary, run_all=run_all, first=len(found.runs))
        found = replace(found, runs=(*found.runs, *more.runs))
    return found


def precise_to(ratio: float, figure: Callable[[Replications], Estimate | None]) -> Callable[[Replications], bool]:
    """Return the condition that a figure's interval reaches at most ``ratio`` of it to each side."""

    def is_precise(found: Replications) -> bool:
        estimate = figure(found)
        return estimate is not None and estimate.half_width_ratio <= ratio

    return is_precise


def decided(limits: Sequence[LoadLimit]) -> Callable[[Replications], bool]:
    """Return the condition that the whole interval of every figure is on one side of its limit, or one is missed."""

    def is_decided(found: Replications) -> bool:
        return found.worst_verdict(limits) is not Verdict.TOO_CLOSE

    return is_decided


def _run_in_memory(study: Study, warm_up_ratio: float | None) -> tuple[RequestSample, dict[str, float]]:
    """Run a study without any file; return its requests, and the figures of the gaps if one is limited."""
    simulation = replace(make_plan(study).simulation(), keeps_rows=True, series_interval_ns=0)
    outcome = InlineExecutor().run(simulation, RunOutputs())
    totals = new_totals(simulation.metadata)
    totals.restore(outcome.hub.totals)

    def own_window(arrivals_ns: Int64Array) -> slice:
        window = find_window(window_rule(study), totals, outcome.hub.end_ns, lambda: arrivals_ns)
        return _between(arrivals_ns, window.start_ns, window.end_ns)

    window = own_window if warm_up_ratio is None else partial(_after, warm_up_ratio)
    sample = request_sample(joined_blocks(outcome.hub.rows or []), window)
    gaps: dict[str, float] = {}
    if any(limit.is_of_gaps for limit in load_limits(study.slo)):
        gaps = numbers_of({"itl_s": distribution_s(merged([replica.gaps for replica in outcome.replicas]))})
    return sample, gaps


def _run_with_summary(study: Study, warm_up_ratio: float | None) -> tuple[RequestSample, dict[str, float]]:
    """Run a study as the run command does; return its requests and every figure of its summary."""
    from cluster_sim.simulation.launcher import task_executor
    from cluster_sim.simulation.run import run_study

    with own_folder("replication") as folder:
        result = run_study(study, RunOptions(executor=task_executor(), out=folder / "run"))
        pools = [pool["name"] for pool in result.summary["pools"]]
        block = read_rows(result.directory / REQUESTS_FILE, pools)
    start_ns, end_ns = (round(result.summary["window"][name] * NS_PER_S) for name in ("start_s", "end_s"))

    def own_window(arrivals_ns: Int64Array) -> slice:
        return _between(arrivals_ns, start_ns, end_ns)

    window = own_window if warm_up_ratio is None else partial(_after, warm_up_ratio)
    return request_sample(block, window), numbers_of(result.summary) | _whole_run_figures(result.summary)


def _whole_run_figures(summary: dict[str, Any]) -> dict[str, float]:
    """Return the limited figures of the whole run by the names of their limits; none where nothing was left out."""
    window = summary["window"]
    if window["warmup"] == NONE == window["measure"]:
        return {}
    return {f"{WHOLE_RUN}{one.name}": one.value_s for one in limited_figures(summary["whole_run"]["slo"])}


def _between(arrivals_ns: Int64Array, start_ns: int, end_ns: int) -> slice:
    low, high = np.searchsorted(arrivals_ns, [start_ns, end_ns]).tolist()
    return slice(low, high)


def _after(ratio: float, arrivals_ns: Int64Array) -> slice:
    return slice(int(len(arrivals_ns) * ratio), len(arrivals_ns))
