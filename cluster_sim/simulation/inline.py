"""Inline executor: every process of a run in this one, called directly.

It shares the hub, the coordinator, the groups and the loop with every other executor; all replicas are in one group,
whose laziness means that a call advances only those that must move.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from cluster_sim.engine.instant import NEVER, Instant, time_of
from cluster_sim.engine.loop import DirectExchange, Exchange, Keeper, Observer, ProtocolError, run_loop
from cluster_sim.errors import UnfinishedError
from cluster_sim.garbage import rare_collections
from cluster_sim.serving.replica import Replica
from cluster_sim.simulation.ending import check_nobody_waits, close_hub, end_of
from cluster_sim.simulation.executor import (
    Checkpoints,
    ReplicaResult,
    RunOutcome,
    RunOutputs,
    SeriesSink,
)
from cluster_sim.simulation.monitoring import RunMonitor
from cluster_sim.simulation.run_recorder import RunRecorder
from cluster_sim.simulation.run_snapshot import RunSnapshot
from cluster_sim.simulation.run_state import RouterSide, RunStates
from cluster_sim.simulation.run_work import RunWork
from cluster_sim.simulation.simulation import Processes, Simulation

SERIES_ROWS: Final = 16_384
"""Rows of all replicas' series between two deliveries, so that memory does not grow with the run."""
LEAST_TICKS: Final = 16
"""Ticks between two deliveries at least: a delivery costs something for every replica."""


class InlineExecutor:
    """Runs simulations in this process; ``groups`` lists the replicas of each group, None puts all in one."""

    def __init__(self, groups: Sequence[Sequence[int]] | None = None) -> None:
        self._groups = groups

    def connect(self, processes: Processes) -> Exchange:
        """Return the exchange that carries windows to the groups."""
        return DirectExchange(processes.groups)

    def run(self, simulation: Simulation, outputs: RunOutputs) -> RunOutcome:
        """Run a simulation to its end in this process."""
        with rare_collections():
            return self._run(simulation, outputs)

    def _run(self, simulation: Simulation, outputs: RunOutputs) -> RunOutcome:
        started_s, cpu_s = time.perf_counter(), time.thread_time()
        resumed = outputs.checkpoints.resumed
        if resumed is not None:
            started_s -= resumed.wall_s
        recorder, processes = self._begin(simulation, outputs, resumed)
        with recorder:
            hub, replicas = processes.hub, processes.replicas
            feed = None if outputs.live is None else outputs.live.feed
            earlier_s = 0.0 if resumed is None else resumed.wall_s
            monitor = RunMonitor(outputs.monitor, simulation, hub, recorder, outputs.progress, feed, earlier_s)
            monitor.watch(processes.coordinator.traffic)
            tap = _SeriesTap(monitor, replicas, simulation.series_interval_ns, outputs.series)
            keeper = _Keeper(outputs.checkpoints, RunStates(simulation), recorder, processes, tap, started_s)
            self._run_loop(processes, tap, keeper)
            check_nobody_waits(simulation.run_end, hub, replicas)
            end = end_of(simulation.run_end, hub)
            processes.finish(end)
            tap.drain()
            hub_result = close_hub(hub, recorder, processes.coordinator.traffic, end)
        return RunOutcome(
            hub_result,
            [
                ReplicaResult(
                    replica.log.counters(time_of(end)),
                    replica.log.gaps(),
                    replica.pipeline.coverage,
                    tuple(rank.counters() for rank in replica.log.ranks),
                )
                for replica in replicas
            ],
            time.perf_counter() - started_s,
            {},
            _streams(replicas) if simulation.keeps_streams else None,
            RunWork(time.thread_time() - cpu_s),
        )

    def _begin(
        self, simulation: Simulation, outputs: RunOutputs, resumed: RunSnapshot | None
    ) -> tuple[RunRecorder, Processes]:
        """Build the recorder and all processes, or restore them."""
        if resumed is None:
            recorder = RunRecorder(simulation.metadata, outputs.requests_path, keeps_rows=simulation.keeps_rows)
            return recorder, simulation.build_processes(recorder.log, self._groups)
        states = RunStates(simulation)
        router = states.restored_router(resumed, outputs.requests_path)
        return router.recorder, states.restored_processes(router, resumed.groups, self._groups)

    def _run_loop(self, processes: Processes, observer: Observer, keeper: Keeper) -> None:
        with self.loop_context(observer):
            run_loop(processes.hub, processes.coordinator, self.connect(processes), observer, keeper)

    @contextmanager
    def loop_context(self, observer: Observer) -> Iterator[None]:
        """Close the observer behind the event loop, and word its failures."""
        try:
            yield
        except ProtocolError as error:
            raise UnfinishedError(str(error)) from error
        finally:
            observer.close()


class _SeriesTap:
    """Hands the replicas' series on every so many ticks; otherwise a transparent observer."""

    def __init__(self, inner: Observer, replicas: list[Replica], interval_ns: int, sink: SeriesSink) -> None:
        self._inner = inner
        self._replicas = replicas
        self._sink = sink
        self._period_ns = interval_ns * max(SERIES_ROWS // (len(replicas) + 1), LEAST_TICKS)
        self._due_ns = self._period_ns or NEVER

    def close(self) -> None:
        self._inner.close()

    def pace(self) -> Instant:
        return self._inner.pace()

    def wants_counters(self) -> bool:
        return self._inner.wants_counters()

    def observe(self, clock: Instant, counters: dict[int, Any]) -> None:
        self._inner.observe(clock, counters)
        if time_of(clock) >= self._due_ns:
            self._due_ns = time_of(clock) + self._period_ns
            self.drain()

    def drain(self) -> None:
        """Hand on the rows that every replica has recorded."""
        for replica in self._replicas:
            if replica.log.is_touched:
                for key, columns in replica.log.take_all_series(replica.settings.index):
                    self._sink(key, columns)


class _Keeper:
    """Takes the snapshots of a run in this process."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        states: RunStates,
        recorder: RunRecorder,
        processes: Processes,
        tap: _SeriesTap,
        started_s: float,
    ) -> None:
        self._checkpoints = checkpoints
        self._states = states
        self._router = RouterSide(processes.hub, processes.coordinator, recorder)
        self._groups = processes.groups
        self._tap = tap
        self._started_s = started_s
        self.is_due = checkpoints.is_due

    def keep(self) -> None:
        """Keep the state, once all that was recorded before it is delivered."""
        self._tap.drain()
        self._checkpoints.keep(self._take)

    def _take(self) -> RunSnapshot:
        states = self._states
        return RunSnapshot(
            states.router_state(self._router),
            tuple(states.group_state(group) for group in self._groups.values()),
            tuple(tuple(group.processes) for group in self._groups.values()),
            time_of(self._router.coordinator.clock),
            time.perf_counter() - self._started_s,
        )


def _streams(replicas: list[Replica]) -> dict[int, tuple[int, Any]]:
    """Return (stages, stage stream) by replica."""
    return {replica.settings.index: (replica.pipeline.stages, replica.pipeline.take_stream()) for replica in replicas}
