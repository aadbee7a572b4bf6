"""Replicas of a serving run on one actor."""

from array import array
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from actors.run_spec import StageStart
from cluster_sim.engine.group import LinkDelays
from cluster_sim.engine.instant import Instant, time_of
from cluster_sim.hardware.predictors.coverage import Coverage
from cluster_sim.recording.replica_counters import ReplicaCounters
from cluster_sim.recording.sketch import QuantileSketch
from cluster_sim.serving.replica import Replica
from cluster_sim.simulation.replica_states import ReplicaStates
from cluster_sim.simulation.simulation import Simulation


class GroupResult(NamedTuple):
    """The results of one group of replicas."""

    replicas: list[tuple[int, ReplicaCounters, QuantileSketch, Coverage, tuple[ReplicaCounters, ...]]]
    """(index, counters, token gaps, coverage of the step predictions, counters of ranks)"""
    streams: list[tuple[int, int, bytes]]
    """(index, stages, stage stream as bytes of int64), if the simulation keeps them."""


class ServingGroupRuntime:
    """A ``ReplicaGroupRuntime`` of some replicas of a simulation."""

    def __init__(
        self,
        simulation: Simulation,
        indices: Sequence[int],
        *,
        is_staged: bool,
        restored: Mapping[int, tuple[Replica, LinkDelays]] | None = None,
    ) -> None:
        """``restored`` has the group's replicas with their links by source, if the run has begun before."""
        self._simulation = simulation
        self._states = ReplicaStates(simulation)
        self._observation = simulation.first_observation
        self._is_staged = is_staged
        self._replicas: list[Replica] = []
        self._streamed: list[Replica] = []
        """Those whose stages are actors."""
        self._sent: dict[int, array[int]] = {}
        """What stage actors have been sent already, by source, if the simulation keeps streams."""
        delays = None
        if restored is None:
            for index in indices:
                self._build(index)
        else:
            delays = {source: links for source, (_, links) in restored.items()}
            for replica, _ in restored.values():
                self._take_in(replica)
        self.group = simulation.group(self._replicas, simulation.observation, self._build, delays)

    def _build(self, index: int, pool: int | None = None) -> Replica:
        """Build a replica that is here from the start, or joins a pool."""
        simulation = self._simulation
        own = simulation.pool_of(index) if pool is None else simulation.pools[pool]
        has_actors = self._is_staged and own.predictor.stages > 1
        is_streamed = has_actors or simulation.keeps_streams
        replica = simulation.build_replica(index, self._observation, is_streamed=is_streamed, pool=pool)
        self._replicas.append(replica)
        if has_actors:
            self._streamed.append(replica)
        return replica

    def _take_in(self, replica: Replica) -> None:
        """Go on with a restored replica; what the stages of its earlier life were sent, they have confirmed."""
        has_actors = self._is_staged and replica.pipeline.stages > 1
        replica.stream(is_streamed=has_actors or self._simulation.keeps_streams)
        self._replicas.append(replica)
        if has_actors:
            self._streamed.append(replica)
            sent = replica.pipeline.take_stream()
            if self._simulation.keeps_streams:
                self._sent[replica.source] = sent

    def stage_starts(self) -> list[StageStart]:
        """Return where the stages of every replica go on whose stages are actors."""
        pipelines = [(replica.source, replica.pipeline) for replica in self._streamed]
        return [
            StageStart(source, pipeline.iterations, list(pipeline.free_ns), list(pipeline.busy_ns))
            for source, pipeline in pipelines
        ]

    def take_batches(self) -> list[tuple[int, Sequence[int]]]:
        """Return the new batches of every replica whose stages are actors."""
        taken = [(replica.source, replica.pipeline.take_stream()) for replica in self._streamed]
        if self._simulation.keeps_streams:
            for source, flat in taken:
                self._sent.setdefault(source, array("q")).extend(flat)
        return [(source, flat) for source, flat in taken if flat]

    def drain(self) -> list[tuple[int, dict[str, Any]]]:
        """Return (key, new rows of the time series) of each replica that anything has reached, and of its ranks."""
        touched = (replica for replica in self._replicas if replica.log.is_touched)
        return [part for replica in touched for part in replica.log.take_all_series(replica.settings.index)]

    def state(self) -> bytes:
        """Return the state of all replicas, once their stages have confirmed every batch."""
        for replica in self._streamed:
            replica.pipeline.keep_stream(self._sent.pop(replica.source, array("q")))
        try:
            return self._states.group_state(self.group)
        finally:
            for replica in self._streamed:
                sent = replica.pipeline.take_stream()
                if self._simulation.keeps_streams:
                    self._sent[replica.source] = sent

    def results(self, end: Instant) -> GroupResult:
        """Return every replica's counters, token gaps and coverage."""
        end_ns = time_of(end)
        return GroupResult(
            [
                (
                    replica.settings.index,
                    replica.log.counters(end_ns),
                    replica.log.gaps(),
                    replica.pipeline.coverage,
                    tuple(rank.counters() for rank in replica.log.ranks),
                )
                for replica in self._replicas
            ],
            self._streams() if self._simulation.keeps_streams else [],
        )

    def _streams(self) -> list[tuple[int, int, bytes]]:
        """Return the whole stage stream of every replica."""
        streams = []
        for replica in self._replicas:
            flat = self._sent.pop(replica.source, array("q"))
            flat.extend(replica.pipeline.take_stream())
            streams.append((replica.settings.index, replica.pipeline.stages, flat.tobytes()))
        return streams
