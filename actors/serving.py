"""A serving study on the actors: the router's side with its books and live metrics, the replicas' side."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from actors.cast import Cast
from cluster_sim.engine.coordinator import Coordinator, LeafLink
from cluster_sim.engine.group import Group
from cluster_sim.engine.instant import NEVER, Instant, Kind, instant, time_of
from cluster_sim.engine.observation import Observation
from cluster_sim.hardware.predictor import Predictor
from cluster_sim.study.books import HubBooks, HubResult
from cluster_sim.study.build import build_hub, build_replica, leaf_links, wirings
from cluster_sim.study.inline import ReplicaResult
from cluster_sim.study.observe import RunWatch
from cluster_sim.study.plan import Plan


@dataclass(frozen=True, slots=True)
class StudyData:
    """What every actor of a study gets, once per node: tables are read there without being copied."""

    plan: Plan
    predictors: list[Predictor]
    """By pool."""
    observation: Observation
    """Of the hub, which decides what the replicas report."""
    requests_path: Path | None
    max_model_tokens: int
    labels: dict[str, str]
    """Describe the run in live metrics."""
    metrics_port: int | None = None
    speedup: float | None = None
    total_requests: int | None = None


class Progress(NamedTuple):
    """How far a run is."""

    simulated_ns: int
    requests_done: int


class StudyHubSide:
    """The router with its books; a ``HubSide``."""

    def __init__(self, data: StudyData) -> None:
        facts = data.plan.facts(data.predictors)
        self._plan, self._predictors = data.plan, data.predictors
        self._books = HubBooks(facts, data.max_model_tokens, data.requests_path)
        self._progress = Progress(0, 0)
        self.hub = build_hub(data.plan, self._books.log)
        self.run_end = data.plan.run_end
        self.observer = RunWatch(
            facts,
            self.hub,
            self._books.log,
            self._note,
            data.metrics_port,
            data.speedup,
            data.labels,
            data.total_requests,
        )

    def _note(self, simulated_ns: int, requests_done: int) -> None:
        self._progress = Progress(simulated_ns, requests_done)

    def links(self, groups: Sequence[Sequence[int]]) -> list[LeafLink]:
        """Return the replicas' links, placed in groups."""
        group_of = {replica: group for group, members in enumerate(groups) for replica in members}
        return leaf_links(self._plan, self._predictors, [group_of[each] for each in range(self._plan.replicas)])

    def end(self) -> Instant:
        """Return the study's own end, or the last thing that a row shows."""
        return self.run_end if self.run_end < NEVER else instant(self.hub.end_ns, Kind.RUN_END)

    def progress(self) -> Progress:
        """Return simulated time and requests done."""
        return self._progress

    def close(self, coordinator: Coordinator) -> HubResult:
        """Complete the table of requests; return totals and digest."""
        end = self.end()
        self.observer.close()
        self.hub.close()
        self._books.close()
        traffic = coordinator.traffic
        return HubResult(
            self._books.totals.snapshot(),
            self._books.digest.hexdigest(),
            time_of(end),
            self.hub.arrived,
            {name: getattr(traffic, name) for name in ("rounds", "windows", "sends", "messages")},
        )


class GroupResult(NamedTuple):
    """What one group of replicas leaves."""

    replicas: list[tuple[int, ReplicaResult]]
    """(index, result)"""
    coverage: list[tuple[int, int]]
    """(steps inside the measured region, extrapolated) per pool."""


class StudyLeafSide:
    """A group of replicas; a ``LeafSide``."""

    def __init__(self, data: StudyData, indices: Sequence[int], is_staged: bool) -> None:
        self._predictors = data.predictors
        for predictor in self._predictors:
            predictor.coverage.inside = predictor.coverage.extrapolated = 0
        self._replicas = [
            build_replica(
                data.plan,
                index,
                data.predictors,
                data.observation,
                is_streamed=is_staged and data.plan.pools[data.plan.pool_index(index)].pool.pipeline_parallel > 1,
            )
            for index in indices
        ]
        self._streamed = [each for each in self._replicas if is_staged and each.pipeline.stages > 1]
        every = wirings(data.plan)
        wiring = {replica.source: every[replica.source] for replica in self._replicas}
        self.group = Group(self._replicas, wiring, data.observation)

    def take_batches(self) -> list[tuple[int, Sequence[int]]]:
        """Return the new batches of every replica whose stages are actors."""
        taken = [(replica.source, replica.pipeline.take_stream()) for replica in self._streamed]
        return [(source, flat) for source, flat in taken if flat]

    def drain(self) -> list[tuple[int, dict[str, Any]]]:
        """Return (index, new rows of the time series) by replica."""
        return [(replica.settings.index, replica.log.take_series()) for replica in self._replicas]

    def results(self, end: Instant) -> GroupResult:
        """Return every replica's counters and token gaps."""
        end_ns = time_of(end)
        return GroupResult(
            [
                (replica.settings.index, ReplicaResult(replica.log.counters(end_ns), replica.log.gaps()))
                for replica in self._replicas
            ],
            [(each.coverage.inside, each.coverage.extrapolated) for each in self._predictors],
        )


def study_cast(data: StudyData) -> Cast:
    """Return the cast of a serving study."""
    return Cast("actors.serving:StudyHubSide", "actors.serving:StudyLeafSide", "actors.payloads:serving_codec", data)
