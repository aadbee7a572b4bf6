"""Run specification: the contract between the actors, which know nothing of serving, and what they run.

A ``RunSpec`` travels to every actor as one picklable object and builds there what the actor runs, so a test model runs
on the same actors as a serving study.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from actors.codec import Codec
from cluster_sim.engine.coordinator import Coordinator, Traffic
from cluster_sim.engine.group import Group
from cluster_sim.engine.hub_interface import Hub
from cluster_sim.engine.instant import Instant
from cluster_sim.engine.loop import Observer


class StageStart(NamedTuple):
    """Where the stages of one replica go on: all zero at the beginning of a run."""

    replica: int
    """Source number."""
    batches: int
    """Batches so far."""
    free_ns: list[int]
    """When each stage has finished all it was given."""
    busy_ns: list[int]
    """Work of each stage so far."""


class RouterRuntime(Protocol):
    """The part of a run in the router actor: the hub and its recorder."""

    @property
    def hub(self) -> Hub:
        """The process in the middle of the star."""

    @property
    def observer(self) -> Observer:
        """What paces the run and keeps its live figures."""

    def coordinator(self, groups: Sequence[Sequence[int]]) -> Coordinator:
        """Return the coordinator of the hub and all replicas (indices from 0), placed in groups."""

    def state(self, coordinator: Coordinator) -> Any:
        """Return the state of the hub's side at a window edge; raise SnapshotError if it cannot be written."""

    def end(self) -> Instant:
        """Return where the run ended, once nothing can happen any more."""

    def progress(self) -> Any:
        """Return the live figures for whoever shows them; called from another thread, plain data."""

    def watch(self, traffic: Traffic) -> None:
        """Take what counts the work of the protocol, before the run starts."""

    def live(self, known: int) -> Any:
        """Return the latest snapshot for live metrics, None if it has the number ``known``; from another thread."""

    def close(self, coordinator: Coordinator) -> Any:
        """Complete the recording and return the hub's result."""


class ReplicaGroupRuntime(Protocol):
    """The part of a run in one group actor: its replicas."""

    group: Group

    def take_batches(self) -> list[tuple[int, Sequence[int]]]:
        """Return (source, flat stream of ``Pipeline.take_stream``) of every replica with new batches."""

    def stage_starts(self) -> list[StageStart]:
        """Return where the stages of every replica go on whose stages are actors; called before the first window."""

    def drain(self) -> Any:
        """Return and forget the replicas' records since the last call (time series), plain data."""

    def state(self) -> Any:
        """Return the state of the replicas at a window edge; raise SnapshotError if it cannot be written."""

    def results(self, end: Instant) -> Any:
        """Return the replicas' results, once the run has ended."""


class RunSpec(Protocol):
    """A run for the actors; picklable, and stored once per node."""

    def codec(self) -> Codec:
        """Return the codec of the run's messages."""

    def router_runtime(self) -> RouterRuntime:
        """Build the part in the router actor."""

    def group_runtime(self, indices: Sequence[int], *, is_staged: bool) -> ReplicaGroupRuntime:
        """Build the replicas with these indices (from 0); ``is_staged`` if their pipeline stages are actors."""
