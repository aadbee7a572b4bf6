"""The highest load that a configuration serves within its limits.

Design.  The simulator is deterministic and every run of one search draws the same requests, so whether a rate is within
the limits changes from yes to no once, up to noise below the tolerance.  The search doubles (or halves) the rate until
it has one of each, then bisects on a logarithmic scale.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.metrics.attainment import is_within_limit
from cluster_sim.metrics.objectives import Limit
from cluster_sim.workload.workload_kind import kind_of

BAD_STATUSES: Final = ("failed", "cancelled", "shed", "unfinished")
"""Ends of requests that no load within the limits may have; a refused request could never have run."""

FOUND: Final = "found"
NONE: Final = "none"
"""Even the lowest rate tried breaks a limit."""
UNBOUNDED: Final = "unbounded"
"""Even the highest rate tried is within the limits."""


@dataclass(frozen=True, slots=True)
class Search:
    """How to search."""

    start_per_s: float
    """First rate tried, requests per simulated second."""
    tolerance_ratio: float = 0.03
    """The answer is at most this share below a rate that breaks a limit."""
    max_runs: int = 24
    """Runs after which the best rate so far is the answer."""


class Capacity(NamedTuple):
    """The answer: the highest rate found within the limits, and the summary of the run at that rate."""

    status: str
    rate_per_s: float | None
    summary: dict[str, Any] | None
    runs: int


@dataclass(frozen=True, slots=True)
class CapacityTask:
    """One configuration to search, self-contained so that it can travel to another machine."""

    study: Study
    search: Search


def highest_rate(search: Search, run: Callable[[float], dict[str, Any]], limits: list[Limit]) -> Capacity:
    """Return the highest rate at which ``run`` (rate to summary) keeps the limits."""
    good: tuple[float, dict[str, Any]] | None = None
    bad: float | None = None
    rate = search.start_per_s
    runs = 0
    while runs < search.max_runs:
        summary = run(rate)
        runs += 1
        if is_within(summary, limits):
            good = (rate, summary)
        else:
            bad = rate
        if good is None:
            rate /= 2
        elif bad is None:
            rate *= 2
        elif bad / good[0] <= 1 + search.tolerance_ratio:
            break
        else:
            rate = (good[0] * bad) ** 0.5
    if good is None:
        return Capacity(NONE, None, None, runs)
    return Capacity(UNBOUNDED if bad is None else FOUND, good[0], good[1], runs)


def is_within(summary: dict[str, Any], limits: list[Limit]) -> bool:
    """Return whether a run keeps every limit and ends every request that can run."""
    requests = summary["requests"]
    if not requests["finished"] or any(requests[status] for status in BAD_STATUSES):
        return False
    return all(is_within_limit(limit, summary[limit.metric][limit.percentile]) for limit in limits)


def rate_of(study: Study) -> float | None:
    """Return the mean rate that the study names, requests per second; None for a trace at its own rate."""
    return kind_of(study.workload).mean_rate()


def at_rate(study: Study, rate_per_s: float) -> Study:
    """Return the study with its mean arrival rate changed and everything else the same."""
    kind = kind_of(study.workload)
    rate_of(study)
    return study.model_copy(update={"workload": kind.at_rate(rate_per_s)})


def search_capacity(task: CapacityTask) -> Capacity:
    """Search one configuration in this process.

    Raises ``InputError`` if the study has no limits, its load cannot be varied, or a run finds its input wrong.
    """
    from cluster_sim.study.sweep import run_variant

    limits = task.study.slo.limits()
    if not limits:
        raise InputError("slo: a search of the highest load needs at least one limit, for example slo.ttft_p99_s")
    return highest_rate(task.search, lambda rate: run_variant(at_rate(task.study, rate))["summary"], limits)
