"""Control of the fleet during a run: its scaler, rolling upgrades, and changes at given times, as one component.

Everything happens in timers of the hub and acts through the membership.  Nothing keeps the run from ending: a drain of
the workload ends it, whatever timers are left.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple

from cluster_sim.engine.hub_interface import Send
from cluster_sim.engine.instant import Kind
from cluster_sim.engine.observation import Grid, Observation, strictest
from cluster_sim.routing.component import SEQUENTIAL, HubComponent, HubServices
from cluster_sim.routing.membership import GONE, Member
from cluster_sim.routing.options import RouterOptions
from cluster_sim.routing.policy_interface import build_policy
from cluster_sim.routing.request_states import Attempt, TrackedRequest
from cluster_sim.routing.scaling.lifecycle import OWN_SEQUENCE, Lifecycle
from cluster_sim.routing.scaling.limits import ScalingLimits
from cluster_sim.routing.scaling.load_curve import LoadCurve
from cluster_sim.routing.scaling.load_observer import LoadObserver
from cluster_sim.routing.scaling.metrics import ReplicaFigures
from cluster_sim.routing.scaling.rolling_upgrade import RollingUpgrade
from cluster_sim.routing.scaling.scaler_interface import SCALERS, AutoscalerOptions, ScaledPool
from cluster_sim.routing.scaling.traffic_split import TrafficSplit
from cluster_sim.serving.messages import Sample
from cluster_sim.units import NS_PER_S

_GRID: Final = "autoscaler"


class ReplicaCount(NamedTuple):
    """A pool gets so many replicas."""

    pool: int
    replicas: int


class SplitWeights(NamedTuple):
    """The shares of traffic by pool change."""

    weights: Mapping[str, float]


class PolicyOptions(NamedTuple):
    """The routing policy changes, or gets other options: the routers restart with it."""

    options: RouterOptions
    observation: Observation
    """What the policies of all models read."""


class BeginUpgrade(NamedTuple):
    """One pool's replicas are replaced by another's."""

    pool: int
    to: int
    max_surge_percent: float
    max_unavailable_percent: float


Change = ReplicaCount | SplitWeights | PolicyOptions | BeginUpgrade


class ScalerTick(NamedTuple):
    """The scaler decides."""


class ChangeDue(NamedTuple):
    """A change at a given time is due."""

    change: Change


class _Upgrade(NamedTuple):
    """An upgrade under way."""

    pools: tuple[int, ...]
    to: int
    arithmetic: RollingUpgrade


class FleetControl(HubComponent):
    """Scales, upgrades and changes the fleet."""

    def __init__(
        self,
        pools: list[ScaledPool],
        changes: Sequence[tuple[int, Change]] = (),
        autoscaler: AutoscalerOptions | None = None,
        load: Callable[[int], LoadCurve] | None = None,
    ) -> None:
        """``pools`` are those of the study in their order, ``changes`` have their times in ns.

        ``load`` returns the load to come in bins of so many ns.
        """
        self.pools = pools
        self.changes = list(changes)
        self._autoscaler = autoscaler
        self._load = load
        self._lifecycle = Lifecycle(pools, autoscaler.victim if autoscaler is not None else "youngest")
        self._observer = LoadObserver(pools)
        self._upgrades: list[_Upgrade] = []
        self._samples: list[dict[int, ReplicaFigures]] = [{} for _ in pools]
        """The newest visible sample of each replica, by pool and number."""
        self._grid: Grid | None = None
        self._own_observation = SEQUENTIAL
        if autoscaler is not None:
            names = autoscaler.pools or [pool.name for pool in pools]
            self._scaled = [(index, pool) for index, pool in enumerate(pools) if pool.name in names]
            self._limits = ScalingLimits(autoscaler, [pool for _, pool in self._scaled])
            self._scaler = SCALERS.chosen_by(autoscaler).part(autoscaler, [pool for _, pool in self._scaled])
            if self._scaler.samples:
                period_ns, latency_ns = (
                    round(seconds * NS_PER_S) for seconds in (autoscaler.sample_period_s, autoscaler.sample_latency_s)
                )
                self._grid = Grid(_GRID, max(1, period_ns), latency_ns, self._scaler.samples)
                self._own_observation = replace(SEQUENTIAL, grids=(self._grid,))
        self._observe_changes()

    @property
    def first_observation(self) -> Observation:
        """What the scaler reads; the rest follows with the changes that need it."""
        return self._own_observation

    def start(self, hub: HubServices) -> None:
        """Take the hub's services and schedule the first decision and every change."""
        super().start(hub)
        self._lifecycle.start(hub)
        self._observer.start(hub)
        self._schedule_changes(0)
        if self._autoscaler is None:
            return
        if self._scaler.knows_load and self._load is not None:
            self._scaler.load = self._load(self._scaler.bin_ns)
        self._schedule_tick(self._scaler.first_ns)

    def branch(self, other: "FleetControl", at_ns: int) -> None:
        """Do from ``at_ns`` on what the control of an equal study with other changes would do."""
        self.hub.events.forget(ChangeDue)
        for pool in other.pools[len(self.pools) :]:
            self.pools.append(pool)
            self._samples.append({})
            self._observer.add_pool(pool)
        self.changes = other.changes
        self._observe_changes()
        self._schedule_changes(at_ns)

    def _observe_changes(self) -> None:
        later = (change.observation for _, change in self.changes if isinstance(change, PolicyOptions))
        self.observation = strictest((self._own_observation, *later))

    def _schedule_changes(self, since_ns: int) -> None:
        for at_ns, change in self.changes:
            # Routers that restart forget what they have read: every sample that is visible must have come before that.
            kind = Kind.GLOBAL_SCHEDULE if isinstance(change, PolicyOptions) else Kind.TIMER
            if at_ns >= since_ns:
                self.hub.events.schedule(
                    at_ns, kind, OWN_SEQUENCE, ChangeDue(change), is_background=True, comes_first=True
                )

    def handlers(self) -> Mapping[type, Callable[[Any, int], list[Send]]]:
        """Return what handles each type of event; whatever changes a replica's state lets upgrades go on."""
        lives = {kind: partial(self._then_upgrade, handler) for kind, handler in self._lifecycle.handlers().items()}
        return {**lives, ScalerTick: self._on_tick, ChangeDue: self._on_change}

    def on_closed(self, tracked: TrackedRequest, attempt: Attempt, now_ns: int) -> None:
        """Note that the router no longer waits for an attempt."""
        del tracked
        self._lifecycle.on_closed(attempt, now_ns)
        if self._autoscaler is not None:
            self._observer.on_closed(attempt, now_ns)

    def on_grid_sample(self, grid: str, member: Member, sample: Sample, now_ns: int) -> None:
        """Note a sample of the scaler's grid."""
        del now_ns
        if grid == _GRID:
            figures = ReplicaFigures(sample.running, sample.waiting, sample.kv_used_ratio)
            self._samples[member.pool][member.number] = figures

    def on_end(self, tracked: TrackedRequest, now_ns: int) -> list[Send]:
        """Note that a request has ended."""
        if self._autoscaler is not None:
            self._observer.on_end(tracked, now_ns)
        return []

    # -------------------------------------------------------------------------------------------------------- events

    def _on_tick(self, event: ScalerTick, now_ns: int) -> list[Send]:
        del event
        metrics = self._observer.take(now_ns, self._samples)
        desired = self._scaler.decide(metrics, now_ns)
        occupied = {pool.name: self._lifecycle.occupancy(index) for index, pool in self._scaled}
        granted = self._limits.granted(desired, occupied)
        sends = [
            send for index, pool in self._scaled for send in self._lifecycle.bring_to(index, granted[pool.name], now_ns)
        ]
        next_ns = self._scaler.next_ns(now_ns)
        if next_ns >= 0:
            self._schedule_tick(next_ns)
        return sends

    def _schedule_tick(self, time_ns: int) -> None:
        needed = self._grid.needed(time_ns) if self._grid is not None else 0
        self.hub.events.schedule(time_ns, Kind.TIMER, OWN_SEQUENCE, ScalerTick(), is_background=True, needed=needed)

    def _on_change(self, event: ChangeDue, now_ns: int) -> list[Send]:
        change = event.change
        if isinstance(change, ReplicaCount):
            return self._lifecycle.bring_to(change.pool, change.replicas, now_ns)
        if isinstance(change, BeginUpgrade):
            self._begin(change)
            return self._upgrade(now_ns)
        routes = list(dict.fromkeys(self.hub.routes.values()))
        if isinstance(change, SplitWeights):
            split = TrafficSplit(change.weights, self.hub.seed)
            for route in routes:
                route.split = split
            return []
        for route in routes:
            route.reconfigure(partial(build_policy, change.options))
        return self._report_to(change, now_ns)

    def _report_to(self, change: PolicyOptions, now_ns: int) -> list[Send]:
        """Tell every replica what the new policy reads, if that is more than they report."""
        known = self._lifecycle.observed or self.hub.first_observation
        observed = strictest((known, change.observation))
        if observed == known:
            return []
        self._lifecycle.observed = observed
        membership = self.hub.membership
        present = [member.number for member in membership if GONE not in member.blocked_by]
        return [membership.observe(number, observed, now_ns) for number in present]

    # ------------------------------------------------------------------------------------------------------- upgrades

    def _then_upgrade(self, handler: Callable[[Any, int], list[Send]], event: Any, now_ns: int) -> list[Send]:
        return handler(event, now_ns) + self._upgrade(now_ns)

    def _begin(self, change: BeginUpgrade) -> None:
        """Begin an upgrade; one under way to the pool that it replaces ends, and all that is left of it is replaced."""
        pools, replicas = [change.pool], len(self._lifecycle.members(change.pool))
        for upgrade in self._upgrades:
            if upgrade.to == change.pool:
                pools += [pool for pool in upgrade.pools if pool != change.to]
                replicas = upgrade.arithmetic.replicas
        self._upgrades = [upgrade for upgrade in self._upgrades if upgrade.to != change.pool]
        arithmetic = RollingUpgrade(replicas, change.max_surge_percent, change.max_unavailable_percent)
        self._upgrades.append(_Upgrade(tuple(dict.fromkeys(pools)), change.to, arithmetic))

    def _upgrade(self, now_ns: int) -> list[Send]:
        """Take every upgrade as far as it may go now."""
        sends: list[Send] = []
        for upgrade in self._upgrades:
            new = self._lifecycle.members(upgrade.to)
            old = {pool: self._lifecycle.members(pool) for pool in upgrade.pools}
            count, ready = sum(map(len, old.values())), sum(map(_ready, old.values()))
            step = upgrade.arithmetic.step(count, ready, len(new), _ready(new))
            sends += self._lifecycle.bring_to(upgrade.to, len(new) + step.start, now_ns)
            drain = step.drain
            for pool, members in reversed(old.items()):  # What an earlier upgrade was to replace goes first.
                going = min(drain, len(members))
                sends += self._lifecycle.bring_to(pool, len(members) - going, now_ns)
                drain -= going
        self._upgrades = [upgrade for upgrade in self._upgrades if not self._is_done(upgrade)]
        return sends

    def _is_done(self, upgrade: _Upgrade) -> bool:
        """Return whether nothing is left of what an upgrade replaces."""
        is_replaced = not any(self._lifecycle.members(pool) for pool in upgrade.pools)
        return is_replaced and len(self._lifecycle.members(upgrade.to)) >= upgrade.arithmetic.replicas


def _ready(members: Sequence[Member]) -> int:
    return sum(not member.blocked_by for member in members)
