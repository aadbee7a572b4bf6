"""Observation: the state of the replicas that hub components read, which limits how far the hub may run ahead."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from cluster_sim.engine.instant import Instant, Kind, instant


@dataclass(frozen=True, slots=True)
class Grid:
    """Instants at which processes sample their state for one purpose, beside the routers' telemetry.

    A sample at a multiple of ``period_ns`` (at least 1) can be read ``latency_ns`` later.  An event that reads the grid
    is gated by ``needed``.
    """

    name: str
    period_ns: int
    latency_ns: int
    fields: frozenset[str]
    """The figures of a sample that are read, so that their changes must be sampled."""
    is_read_by_schedules: bool = False
    """Whether every global schedule reads it; otherwise the events that do are scheduled with what they need."""

    def newest_ns(self, now_ns: int) -> int:
        """Return the sampling time that an event at ``now_ns`` reads; negative before the first is visible."""
        return (now_ns - self.latency_ns) // self.period_ns * self.period_ns

    def needed(self, now_ns: int) -> Instant:
        """Return what every process must have passed before an event at ``now_ns`` that reads the newest sample."""
        newest_ns = self.newest_ns(now_ns)
        return instant(newest_ns, Kind.SAMPLE) + 1 if newest_ns >= 0 else 0


@dataclass(frozen=True, slots=True)
class Observation:
    """One component's declaration; the strictest of all components rules, and grids are joined.

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
    grids: tuple[Grid, ...] = ()

    @property
    def is_instantaneous(self) -> bool:
        """Whether every decision probes the replicas at its own instant."""
        return self.telemetry and self.period_ns == 0

    def has_grid(self, name: str) -> bool:
        """Return whether samples are taken on a grid of this name."""
        return any(grid.name == name for grid in self.grids)

    def newest_sample_ns(self, now_ns: int) -> int:
        """Return the sampling time that a decision at ``now_ns`` reads; negative before the first is visible."""
        if self.period_ns == 0:
            return now_ns
        return (now_ns - self.latency_ns) // self.period_ns * self.period_ns


NOTHING = Observation()


def contradiction(first: Observation, second: Observation) -> str:
    """Return why two components cannot share the samples of the processes, or nothing if they can."""
    instants = [(observation.period_ns, observation.latency_ns) for observation in (first, second)]
    if first.telemetry and second.telemetry and instants[0] != instants[1]:
        return "the telemetry has another period or latency"
    known = {grid.name: grid for grid in first.grids}
    for grid in second.grids:
        other = known.get(grid.name, grid)
        if (other.period_ns, other.latency_ns) != (grid.period_ns, grid.latency_ns):
            return f"the samples of the {grid.name} have another period or latency"
    return ""


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
            gates=combined.gates or observation.gates or bool(observation.grids),
            first_tokens=combined.first_tokens or observation.first_tokens,
            grids=_joined(combined.grids, observation.grids),
        )
    return combined


def _joined(grids: Iterable[Grid], others: Iterable[Grid]) -> tuple[Grid, ...]:
    """Return all grids; those of one name must have the same instants."""
    by_name = {grid.name: grid for grid in grids}
    for grid in others:
        known = by_name.get(grid.name, grid)
        assert (known.period_ns, known.latency_ns) == (grid.period_ns, grid.latency_ns), f"two grids {grid.name!r}"
        is_read = grid.is_read_by_schedules or known.is_read_by_schedules
        by_name[grid.name] = replace(grid, fields=grid.fields | known.fields, is_read_by_schedules=is_read)
    return tuple(by_name.values())
