"""A run on actors that are plain objects in threads of this process: everything but Ray."""

import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from unittest import mock

from actors.group_actor import GroupActor
from actors.network import Listener, Network
from actors.placement import Placement
from actors.ray_executor import RayExecutor
from actors.router_actor import RouterActor
from actors.run_spec import RunSpec
from actors.stage_actor import StageActor
from actors.supervisor import RayRunResult, RunObserver
from actors.transport import LinkSettings, WaitLimits
from cluster_sim.config.schema.run import Run
from cluster_sim.config.schema.study import Study
from cluster_sim.engine.instant import time_of
from cluster_sim.simulation.plan import make_plan
from cluster_sim.simulation.run_snapshot import RunSnapshot
from cluster_sim.simulation.simulation import Simulation
from tests.evidence import Evidence, evidence_of

PAUSE_S = 0.05
LONG_WAITS = WaitLimits(60, 60, 60)
Company = Callable[[LinkSettings, list[Listener]], AbstractContextManager[None]]
"""Strangers at the sockets of a run: there before its groups are, and while it goes on."""


@dataclass
class ThreadedRun:
    """Runs specifications as the supervisor does."""

    network: Network
    company: Company = lambda _settings, _listeners: nullcontext()
    most_snapshots: int = 0
    """How many window edges snapshots are taken at, with pauses between them."""
    snapshots: list[RunSnapshot] = field(default_factory=list)
    """Those that were taken."""
    dropped_frames: int = 0
    """Frames and connections of strangers that all sockets of the last run dropped."""
    limits: WaitLimits = LONG_WAITS

    def __call__(self, spec: RunSpec, placement: Placement, observer: RunObserver) -> RayRunResult:
        """Run one specification and return its results."""
        settings = LinkSettings(secrets.token_hex(16), self.network, limits=self.limits)
        router = RouterActor()
        hub_endpoint = router.build(spec, placement.groups, settings)
        groups = [GroupActor(index) for index in range(len(placement.groups))]
        ends = [
            group.build(spec, members, settings, placement.stages)
            for group, members in zip(groups, placement.groups, strict=True)
        ]
        chains = [
            [StageActor(index, number, placement.stages) for number in range(placement.stages)]
            for index in range(len(groups))
        ]
        inputs = [[stage.build(settings) for stage in chain] for chain in chains]
        for chain, row, (end, begun) in zip(chains, inputs, ends, strict=True):
            for stage, following in zip(chain, [*row[1:], end], strict=False):
                stage.start(following, begun)
        stages = [stage for chain in chains for stage in chain]
        assert router._socket is not None
        listeners = [router._socket._listener, *(stage._input for stage in stages)]
        listeners += [group._stream._listener for group in groups if group._stream is not None]
        with ThreadPoolExecutor(1) as thread:
            hub = thread.submit(router.run)
            with self.company(settings, listeners):
                for group, row in zip(groups, inputs, strict=True):
                    group.start(hub_endpoint, row[0] if row else "")
                self._take_snapshots(router, groups)
                result = hub.result()
                failures = [actor.watch() for actor in (*groups, *stages)]
        assert not any(failures), failures
        self.dropped_frames = sum(listener.dropped.count for listener in listeners)
        results = []
        for group in groups:
            series, replicas = group.results()
            observer.on_drain(series)
            results.append(replicas)
        counts = [counts for stage in stages for counts in stage.results()]
        return RayRunResult(result, results, counts, 1.0)

    def _take_snapshots(self, router: RouterActor, groups: list[GroupActor]) -> None:
        """Let the router wait at window edges, and take the states of all actors there."""
        while len(self.snapshots) < self.most_snapshots:
            taken = router.take_state()
            if taken is None:
                return
            states = [group.take_state() for group in groups]
            router.go_on()
            members = tuple(tuple(sources) for _, _, sources in states)
            snapshot = RunSnapshot(taken[1], tuple(state for _, state, _ in states), members, time_of(taken[0]), 0.0)
            self.snapshots.append(snapshot)
            time.sleep(PAUSE_S)

    def evidence(self, study: Study, cpus: float = 2.0, **run: object) -> Evidence:
        """Run a study and return what it left; ``run`` changes keys of its ``run`` block."""
        return self.evidence_with(study.run.model_copy(update=run), make_plan(study).simulation(), cpus)

    def evidence_with(self, settings: Run, simulation: Simulation, cpus: float = 2.0) -> Evidence:
        """Run a simulation and return what it left."""
        with self.in_place_of_ray(cpus):
            return evidence_of(RayExecutor(settings), simulation)

    @contextmanager
    def in_place_of_ray(self, cpus: float = 2.0) -> Iterator[None]:
        """Let the Ray executor run its actors here while the context lasts."""
        with (
            mock.patch("actors.ray_executor.ray_cluster", _no_cluster),
            mock.patch("actors.ray_executor.await_cpus", return_value=[cpus]),
            mock.patch("actors.ray_executor.run_actors", self),
        ):
            yield


@contextmanager
def _no_cluster(_address: str | None) -> Iterator[None]:
    yield
