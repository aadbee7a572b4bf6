"""Estimate of what a sweep will cost, before it is run."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from cluster_sim.shown_values import counted
from cluster_sim.study.variants import Variant
from cluster_sim.workload.build import total_requests

LEAST_S_PER_REQUEST: Final = 0.0001
MOST_S_PER_REQUEST: Final = 0.001
"""Of one core: plain fleets, and prefix caches or policies that wait for answers (scripts/bench.py)."""
S_PER_RUN: Final = 0.5
"""What a run costs beside its requests: resolving the study, tables, summary."""


class SweepEstimate(NamedTuple):
    """What is known of a sweep beforehand."""

    runs: int
    """Runs with a valid study."""
    requests: int
    """Of all runs whose number of requests the study says."""
    unknown: int
    """Runs whose number of requests only a run can tell."""

    def words(self, cores: int) -> str:
        """Return the estimate as a sentence, for so many cores."""
        least, most = (
            _duration((self.runs * S_PER_RUN + self.requests * each_s) / cores)
            for each_s in (LEAST_S_PER_REQUEST, MOST_S_PER_REQUEST)
        )
        span = least if least == most else f"{least} to {most}"
        unknown = f" and an unknown number in {counted(self.unknown, 'run')}" if self.unknown else ""
        return (
            f"{counted(self.runs, 'run')}, {counted(self.requests, 'request')}{unknown}: about {span} on "
            f"{counted(cores, 'core')}, more in overload"
        )


def estimate(variants: Sequence[Variant]) -> SweepEstimate:
    """Return what the valid variants of a sweep will simulate."""
    totals = [total_requests(variant.study.workload) for variant in variants if variant.study is not None]
    known = [total for total in totals if total is not None]
    return SweepEstimate(len(totals), sum(known), len(totals) - len(known))


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
