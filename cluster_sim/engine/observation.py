"""Observation: the state of the replicas that hub components read, which limits how far the hub may run ahead."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Observation:
    """One component's declaration; the strictest of all components rules.

    ``responses``: the component reads when requests end (counts in flight).  ``reacts``: an end may make it send
    something (closed loops, limits), so processes may not run past the next end either.  ``telemetry``: it
    reads samples with ``period_ns`` and ``latency_ns``; a period of 0 is perfect instantaneous knowledge, legal and
    slow.  ``sampled_fields``: the figures of a sample that it reads, so that their changes must be sampled.  ``gates``:
    some of its events wait until every process has passed an instant that the hub names (``Hub.needed``).
    ``first_tokens``: it reads when a job's first output comes, for which one batch may do; goes with ``responses``.
    """

    responses: bool = False
    reacts: bool = False
    telemetry: bool = False
    period_ns: int = 0
    latency_ns: int = 0
    sampled_fields: frozenset[str] = frozenset()
    gates: bool = False
    first_tokens: bool = False

    @property
    def is_instantaneous(self) -> bool:
        """Whether every decision probes the replicas at its own instant."""
        return self.telemetry and self.period_ns == 0

    def newest_sample_ns(self, now_ns: int) -> int:
        """Return the sampling time that a decision at ``now_ns`` reads; negative before the first is visible."""
        if self.period_ns == 0:
            return now_ns
        return (now_ns - self.latency_ns) // self.period_ns * self.period_ns


NOTHING = Observation()


def strictest(observations: Iterable[Observation]) -> Observation:
    """Combine declarations; at most one telemetry setting may appear, since all components share the samples."""
    combined = NOTHING
    for observation in observations:
        if observation.telemetry and combined.telemetry:
            assert (observation.period_ns, observation.latency_ns) == (combined.period_ns, combined.latency_ns)
        source = observation if observation.telemetry else combined
        combined = Observation(
            responses=combined.responses or observation.responses,
            reacts=combined.reacts or observation.reacts,
            telemetry=combined.telemetry or observation.telemetry,
            period_ns=source.period_ns,
            latency_ns=source.latency_ns,
            sampled_fields=combined.sampled_fields | observation.sampled_fields,
            gates=combined.gates or observation.gates,
            first_tokens=combined.first_tokens or observation.first_tokens,
        )
    return combined
