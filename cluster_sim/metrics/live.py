"""Live snapshots of a run: plain figures, safe to read from another thread or process."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Self, TypeVar

import numpy as np
import numpy.typing as npt

from cluster_sim.metrics.live_figures import EngineFigures, idle_figures, sums_of
from cluster_sim.metrics.request_totals import RequestTotals
from cluster_sim.metrics.run_metadata import RunMetadata

Int64Array = npt.NDArray[np.int64]
_Number = TypeVar("_Number", bound=Any)

ENGINE_LIMIT: Final = 64
"""Largest fleet whose replicas have series of their own; a larger one has one set of series per pool."""
Adapters = tuple[tuple[str, ...], tuple[str, ...]]
"""Names of the LoRA adapters that a replica's running requests use, and of those that waiting ones wait for."""
NO_ADAPTERS: Final[Adapters] = ((), ())

SPEED_WINDOW_S: Final = 10.0
"""Wall seconds over which the speed-up of a run is measured."""


class EngineMembers:
    """Which replicas each engine of a snapshot stands for: one, or all of a pool of a large fleet.

    Engines are in the order of the replicas' numbers, or of the pools.
    """

    def __init__(self, metadata: RunMetadata, engine_limit: int = ENGINE_LIMIT) -> None:
        self.are_replicas = metadata.replicas <= engine_limit
        self._pools = len(metadata.pools)
        self._at_start = metadata.pool_of_replica()

    def groups(self, joined_pools: Sequence[int]) -> list[list[int]] | None:
        """Return the replicas of each pool; None if every replica is an engine."""
        if self.are_replicas:
            return None
        members: list[list[int]] = [[] for _ in range(self._pools)]
        for number, pool in enumerate((*self._at_start, *joined_pools)):
            members[pool].append(number)
        return members


@dataclass(frozen=True, slots=True)
class RequestsLive:
    """Copies of the running totals over requests; the first axis of arrays is the engine."""

    statuses: Int64Array
    """Of the whole run, those included that no replica took."""
    engine_statuses: Int64Array
    sums: npt.NDArray[np.object_]
    histograms: dict[str, Int64Array]
    token_bounds: tuple[int, ...]
    retries: int = 0
    attempts: int = 0
    reasons: tuple[int, ...] = ()

    @classmethod
    def copy_of(cls, totals: RequestTotals, groups: Sequence[Sequence[int]] | None = None) -> Self:
        """Copy what live metrics show of ``totals``, whose replicas make ``groups``; None keeps them apart."""

        def shown(values: npt.NDArray[_Number]) -> npt.NDArray[_Number]:
            return values.copy() if groups is None else sums_of(values, groups)

        return cls(
            totals.statuses.copy(),
            shown(totals.replica_statuses),
            shown(totals.sums),
            {name: shown(counts) for name, counts in totals.histograms.items()},
            totals.token_bounds,
            totals.retries_all,
            totals.attempts_all,
            tuple(totals.reasons.tolist()),
        )


class PoolLive(NamedTuple):
    """The replicas of a pool, by what they do now."""

    ready: int
    """They take requests."""
    starting: int = 0
    draining: int = 0
    down: int = 0
    """The router knows that they have crashed."""
    unhealthy: int = 0
    """Health checks or circuit breakers keep requests away from them."""
    joined: int = 0
    """Replicas that have joined during the run so far."""
    left: int = 0
    """Replicas that have left so far."""


class FleetLive(NamedTuple):
    """The fleet as its router sees it."""

    pools: tuple[PoolLive, ...]
    queued: int = 0
    """Requests that wait at the router."""
    migrated: int = 0
    """Times that a request went on at another replica from where it had come, so far."""
    moved_bytes: int = 0
    """Bytes of the transfers between replicas that have begun."""


class TrafficLive(NamedTuple):
    """Work of the protocol between the router and its replicas, so far."""

    rounds: int = 0
    """Times that windows were sent out."""
    windows: int = 0
    sends: int = 0
    """Messages of the router."""
    messages: int = 0
    """Messages to the router."""


@dataclass(frozen=True, slots=True)
class LiveSnapshot:
    """A run at one moment."""

    simulated_s: float
    wall_s: float
    speedup_ratio: float
    """Simulated seconds per wall second, lately."""
    arrived: int
    engines: EngineFigures
    requests: RequestsLive
    fleet: FleetLive
    generation_rates: npt.NDArray[np.float64]
    """Tokens that each engine has generated per simulated second, lately."""
    traffic: TrafficLive
    completed_ratio: float | None = None
    """Share of the run that is done, if its length is known."""
    joined_pools: Sequence[int] = ()
    """Pools of the replicas that have joined during the run, in the order of their numbers."""
    adapters: Mapping[int, Adapters] = field(default_factory=dict)
    """Of the replicas that have had requests with adapters, by their numbers."""
    by_rank: "LiveSnapshot | None" = None
    """The same with a row for each data-parallel rank, by ``request_totals.rank_row``, if replicas have several."""


class SpeedMeter:
    """Measures how many simulated seconds pass per wall second, over the last ``window_s`` wall seconds."""

    def __init__(self, window_s: float = SPEED_WINDOW_S) -> None:
        self._window_s = window_s
        self._readings: deque[tuple[float, float]] = deque()

    def measure(self, wall_s: float, simulated_s: float) -> float:
        """Record both clocks and return the ratio; 0 until two readings are known."""
        readings = self._readings
        readings.append((wall_s, simulated_s))
        while len(readings) > 2 and wall_s - readings[1][0] >= self._window_s:
            readings.popleft()
        first_wall_s, first_simulated_s = readings[0]
        if wall_s <= first_wall_s:
            return 0.0
        return (simulated_s - first_simulated_s) / (wall_s - first_wall_s)


class GenerationMeter:
    """Measures the tokens that engines generate per simulated second, between one snapshot and the next."""

    def __init__(self) -> None:
        self._time_s = 0.0
        self._tokens = np.zeros(0, np.int64)
        self._rates = np.zeros(0, np.float64)

    def measure(self, simulated_s: float, engines: EngineFigures) -> npt.NDArray[np.float64]:
        """Return the rates since the last call, or those of the last call if no time has passed."""
        tokens = engines.figure("generated_tokens")
        missing = len(tokens) - len(self._tokens)
        before = np.pad(self._tokens, (0, missing))
        passed_s = simulated_s - self._time_s
        if passed_s <= 0:
            return np.pad(self._rates, (0, missing))
        self._time_s, self._tokens, self._rates = simulated_s, tokens.copy(), (tokens - before) / passed_s
        return self._rates


def opening_snapshot(metadata: RunMetadata, totals: RequestTotals, members: EngineMembers) -> LiveSnapshot:
    """Return the snapshot of a run that has not begun: every series exists at 0, so that rates see the first step."""
    groups = members.groups(())
    engines = EngineFigures(idle_figures(metadata.replicas))
    if groups is not None:
        engines = engines.grouped(groups)
    return LiveSnapshot(
        simulated_s=0.0,
        wall_s=0.0,
        speedup_ratio=0.0,
        arrived=0,
        engines=engines,
        requests=RequestsLive.copy_of(totals, groups),
        fleet=FleetLive(tuple(PoolLive(pool.replicas) for pool in metadata.pools)),
        generation_rates=np.zeros(len(engines.matrix)),
        traffic=TrafficLive(),
    )
