"""Runs of a study at a steady rate: any number of requests, whatever the length of the study's workload."""

from typing import Final, NamedTuple

from cluster_sim.config.schema.measurement import Phase
from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.study.replications import ReplicationTask, replication_seed, trace_bootstrap
from cluster_sim.workload.build import build_columns
from cluster_sim.workload.kind_interface import kind_of
from cluster_sim.workload.kinds.trace import TraceWorkload

WARM_UP_RATIO: Final = 0.2
"""Share of the requests, the first to arrive, that fill the empty fleet and are not measured of a stationary load."""

WHOLE: Final = Phase(kind="none")
"""The runs are judged by their rows, so their summaries need no measured window."""


class SteadyRun(NamedTuple):
    """A run to make at a rate."""

    rate_per_s: float
    """Requests per simulated second."""
    number: int
    """Number of the replication; runs at several rates with one number share their random numbers."""
    requests: int
    """At least so many; a trace gives as many as it has."""
    has_summary: bool = False


def check_rate(study: Study) -> float | None:
    """Return the mean rate that the study names, requests per second; None for a trace at its own rate.

    Raises InputError if the load of the study cannot be varied.
    """
    rate = kind_of(study.workload).mean_rate()
    if getattr(study.workload, "max_concurrency", None) is not None:
        raise InputError(
            "workload.max_concurrency: clients that hold requests back hide an overload; a search of the highest load "
            "needs clients that do not: remove it"
        )
    return rate


def steady_task(study: Study, run: SteadyRun) -> ReplicationTask:
    """Return the task that makes a run; a load that changes is measured whole, or its bursts might be left out."""
    changed = at_rate(study, run.rate_per_s, run.requests, run.number)
    ratio = WARM_UP_RATIO if kind_of(changed.workload).is_stationary else 0.0
    return ReplicationTask(changed, run.number, ratio, run.has_summary)


def at_rate(study: Study, rate_per_s: float, requests: int, number: int = 0) -> Study:
    """Return the study at another mean rate, with at least ``requests`` of them, run until all have ended.

    A trace that is long enough is replayed by replication 0; else, and in the others, it is bootstrapped.
    """
    workload = kind_of(study.workload).at_rate(rate_per_s)
    if isinstance(workload, TraceWorkload):
        workload = workload.model_copy(update={"bootstrap": _bootstrap(workload, study.seed, requests, number)})
    else:
        workload = workload.model_copy(update={"count": requests, "duration_s": None})
    own = {"end_s": None, "warmup": WHOLE, "measure": WHOLE, "series_interval_s": 0.0, "event_trace": False}
    changed = {
        "workload": workload,
        "run": study.run.model_copy(update=own),
        "seed": replication_seed(study.seed, number),
        "sweep": None,
    }
    return study.model_copy(update=changed)


def _bootstrap(workload: TraceWorkload, seed: int, requests: int, number: int) -> object:
    """Return how a trace is resampled to a number of requests; None if it has as many and is to be replayed."""
    if workload.bootstrap is not None:
        return workload.bootstrap.model_copy(update={"count": requests, "duration_s": None})
    if not number and sum(map(len, build_columns(workload, seed).columns())) >= requests:
        return None
    return trace_bootstrap(workload, seed, requests)
