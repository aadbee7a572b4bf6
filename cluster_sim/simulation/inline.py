"""The inline executor: every process of a run in this one, called directly.

It shares the hub, the coordinator, the groups and the loop with every other executor; all replicas sit in one group,
whose laziness means that a call touches only those that must move.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from cluster_sim.engine.coordinator import Coordinator
from cluster_sim.engine.group import Group
from cluster_sim.engine.instant import NEVER, time_of
from cluster_sim.engine.loop import DirectExchange, Observer, ProtocolError, run_loop
from cluster_sim.errors import UnfinishedError
from cluster_sim.hardware.predictors.base import Predictor
from cluster_sim.hardware.predictors.coverage import Coverage
from cluster_sim.recording.replica_log import ReplicaCounters
from cluster_sim.recording.request_log import RequestLog
from cluster_sim.recording.sketch import QuantileSketch
from cluster_sim.routing.hub import RouterHub
from cluster_sim.serving.replica import Replica
from cluster_sim.simulation.composition import build_hub, build_replica, process_links, wirings
from cluster_sim.simulation.ending import check_nobody_waits, close_hub, end_of
from cluster_sim.simulation.plan import Plan
from cluster_sim.simulation.run_recorder import HubResult, RunRecorder

SERIES_ROWS = 65_536
"""Rows of all replicas' series between two deliveries, so that memory does not grow with the run."""


class ReplicaResult(NamedTuple):
    """What one replica leaves."""

    counters: ReplicaCounters
    gaps: QuantileSketch
    coverage: Coverage


class RunOutcome(NamedTuple):
    """What an executor leaves: the hub's result, and the replicas' in the order of their numbers."""

    hub: HubResult
    replicas: list[ReplicaResult]
    streams: dict[int, tuple[int, Sequence[int]]] | None = None
    """(stages, stage stream) by replica, where the run is traced."""


SeriesSink = Callable[[int, dict[str, Any]], None]
"""Takes (replica, columns of ReplicaLog.take_series)."""

ObserverFactory = Callable[[RouterHub, RequestLog], Observer]


class _SeriesTap:
    """Hands the replicas' series on every so many ticks; otherwise a transparent observer."""

    def __init__(self, inner: Observer, replicas: list[Replica], sink: SeriesSink) -> None:
        self._inner = inner
        self._replicas = replicas
        self._sink = sink
        self._period_ns = replicas[0].settings.series_interval_ns * max(SERIES_ROWS // len(replicas), 1)
        self._due_ns = self._period_ns or NEVER

    def close(self) -> None:
        self._inner.close()

    def pace(self) -> int:
        return self._inner.pace()

    def wants_counters(self) -> bool:
        return self._inner.wants_counters()

    def observe(self, clock: int, counters: dict[int, Any]) -> None:
        self._inner.observe(clock, counters)
        if time_of(clock) >= self._due_ns:
            self._due_ns = time_of(clock) + self._period_ns
            self.drain()

    def drain(self) -> None:
        """Hand on what every replica has noted."""
        for replica in self._replicas:
            self._sink(replica.settings.index, replica.log.take_series())


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Let Python look for reference cycles a hundred times more rarely: the model makes none."""
    thresholds = gc.get_threshold()
    gc.set_threshold(thresholds[0] * 100, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


def run_inline(
    plan: Plan, predictors: list[Predictor], books: RunRecorder, series: SeriesSink, watch: ObserverFactory
) -> RunOutcome:
    """Run a plan to its end in this process; ``watch`` makes the observer once the hub is there.

    Raises UnfinishedError when the run cannot make progress.
    """
    hub = build_hub(plan, books.log)
    is_traced = plan.study.run.event_trace
    replicas = [
        build_replica(plan, index, predictors, hub.observation, is_streamed=is_traced) for index in range(plan.replicas)
    ]
    group = Group(replicas, wirings(plan), hub.observation)
    coordinator = Coordinator(hub, process_links(plan, predictors, [0] * plan.replicas), plan.run_end)
    observer = watch(hub, books.log)
    tap = _SeriesTap(observer, replicas, series)
    try:
        with _rare_collections():
            run_loop(hub, coordinator, DirectExchange({0: group}), tap)
    except ProtocolError as error:
        raise UnfinishedError(str(error)) from error
    finally:
        observer.close()
    check_nobody_waits(plan.run_end, hub, replicas)
    end = end_of(plan.run_end, hub)
    group.finish(end)
    tap.drain()
    return RunOutcome(
        close_hub(hub, books, coordinator.traffic, end),
        [
            ReplicaResult(replica.log.counters(time_of(end)), replica.log.gaps(), replica.pipeline.coverage)
            for replica in replicas
        ],
        {each.settings.index: (each.pipeline.stages, each.pipeline.take_stream()) for each in replicas}
        if is_traced
        else None,
    )
