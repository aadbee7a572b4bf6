# ruff: noqa: ARG002 - the contract
"""A component of the hub for tests: replicas join, leave and crash, a scaler reads a grid, and requests are retried."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from cluster_sim.engine.hub_interface import Send
from cluster_sim.engine.instant import Kind, instant
from cluster_sim.engine.observation import Grid, Observation
from cluster_sim.recording.reasons import CRASH
from cluster_sim.recording.statuses import FAILED
from cluster_sim.routing.component import HubServices, Recovery
from cluster_sim.routing.membership import DOWN, DRAINING, STARTING, Member
from cluster_sim.routing.request_states import Attempt, TrackedRequest
from cluster_sim.serving.lives.timeline import NO_FAULTS, Timeline
from cluster_sim.serving.messages import Sample

MS = 1_000_000
MOST_REPLICAS = 7
ATTEMPTS = 4


@dataclass(frozen=True)
class Changes:
    """What happens to a small fleet; times in ms."""

    joins: tuple[float, ...] = ()
    leaves: tuple[tuple[float, int], ...] = ()
    """(time, replica)"""
    crashes: tuple[tuple[int, float, float], ...] = ()
    """(replica, crash, restart)"""
    warm_ms: float = 1.0
    backoff_ms: float = 0.0
    period_ms: float = 0.0
    """Of the scaler's grid and its ticks; 0 for none."""
    latency_ms: float = 0.0

    def timeline_of(self, replica: int, pool: str = "", joins: bool = False) -> Timeline:
        """Return what befalls a replica."""
        crashes = [(round(at * MS), round(up * MS)) for index, at, up in self.crashes if index == replica]
        return Timeline(crashes) if crashes else NO_FAULTS


class JoinDue(NamedTuple):
    """Somebody wants one more replica."""


class Ready(NamedTuple):
    """A replica takes requests, as far as ``reason`` goes."""

    replica: int
    reason: str


class LeaveDue(NamedTuple):
    """Somebody wants a replica to leave."""

    replica: int


class Reset(NamedTuple):
    """The router's connections to a replica break."""

    replica: int
    crash_ns: int
    restart_ns: int


class Refused(NamedTuple):
    """A replica was dead when an attempt would have been delivered."""

    request_id: int
    attempt: int


class Retry(NamedTuple):
    """A request is routed again."""

    request_id: int


class Tick(NamedTuple):
    """The scaler decides."""


class Changer(Recovery):
    """Acts out ``Changes``."""

    def __init__(self, changes: Changes, return_ns: int) -> None:
        self.changes = changes
        self.return_ns = return_ns
        self.births_ns: dict[int, int] = {}
        self.failures: dict[int, int] = {}
        self.loads: dict[int, int] = {}
        period_ns, latency_ns = round(changes.period_ms * MS), round(changes.latency_ms * MS)
        self.grid = Grid("scaler", period_ns, latency_ns, frozenset({"running", "waiting"})) if period_ns else None
        grids = () if self.grid is None else (self.grid,)
        self.observation = Observation(responses=True, reacts=True, gates=True, grids=grids)

    def start(self, hub: HubServices) -> None:
        super().start(hub)
        self.opener = hub.dispatcher.open
        hub.dispatcher.open = self.open  # type: ignore[method-assign]
        for order, at_ms in enumerate(self.changes.joins):
            hub.events.schedule(round(at_ms * MS), Kind.TIMER, order, JoinDue())
        for at_ms, replica in self.changes.leaves:
            hub.events.schedule(round(at_ms * MS), Kind.TIMER, replica, LeaveDue(replica), is_background=True)
        for member in list(hub.membership):
            self.born(member.number, 0, first_ns=0)
        self.tick_again(0)

    def handlers(self) -> Mapping[type, Callable[[Any, int], list[Send]]]:
        return {
            JoinDue: self.on_join,
            Ready: self.on_ready,
            LeaveDue: self.on_leave,
            Reset: self.on_reset,
            Refused: self.on_refused,
            Retry: self.on_retry,
            Tick: self.on_tick,
        }

    # -------------------------------------------------------------------------------------------------------- replicas

    def born(self, replica: int, birth_ns: int, first_ns: int = -1) -> None:
        self.births_ns[replica] = birth_ns
        self.await_crash(replica, birth_ns + 1 if first_ns < 0 else first_ns)

    def await_crash(self, replica: int, from_ns: int) -> None:
        crash = self.changes.timeline_of(replica).crash_from(from_ns)
        if crash is not None:
            needed = instant(crash.crash_ns, Kind.FAULT) + 1
            reset = Reset(replica, *crash)
            at_ns = crash.crash_ns + self.return_ns
            self.hub.events.schedule(at_ns, Kind.RESET, replica, reset, is_background=True, needed=needed)

    def on_join(self, _event: JoinDue, now_ns: int) -> list[Send]:
        if sum(1 for _ in self.hub.membership) >= MOST_REPLICAS:
            return []
        member, send = self.hub.membership.join(0, now_ns)
        arrival_ns = now_ns + member.target.forward_ns
        self.born(member.number, arrival_ns)
        ready_ns = arrival_ns + round(self.changes.warm_ms * MS)
        self.hub.events.schedule(ready_ns, Kind.TIMER, member.number, Ready(member.number, STARTING))
        return [send]

    def on_ready(self, event: Ready, _now_ns: int) -> list[Send]:
        self.hub.membership.unblock(event.replica, event.reason)
        return []

    def on_leave(self, event: LeaveDue, now_ns: int) -> list[Send]:
        replica = event.replica
        known = {member.number: member for member in self.hub.membership}
        member = known.get(replica)
        if member is None or DRAINING in member.blocked_by or self.is_dead(replica, now_ns + member.target.forward_ns):
            return []
        self.hub.membership.block(replica, DRAINING)
        sends = [self.hub.membership.leave(replica, now_ns)]
        del self.births_ns[replica]
        return sends + self.fail(replica, now_ns, now_ns + 1)

    def fail(self, replica: int, now_ns: int, before_ns: int) -> list[Send]:
        """Fail the attempts at a replica that are delivered below a time; from now on all of them, if it has left."""
        sends: list[Send] = []
        for request_id in sorted(self.hub.requests):
            tracked = self.hub.requests[request_id]
            for attempt in list(tracked.open.values()):
                delivered_ns = attempt.dispatch_ns + attempt.target.forward_ns
                if attempt.target.source == replica + 1 and (delivered_ns < before_ns or replica not in self.births_ns):
                    departure = self.hub.requests.departure(request_id, attempt.number)
                    # Only what the event was gated by is surely there.
                    if departure is not None and replica in self.births_ns:
                        tracked.resume(departure, attempt.dispatch_ns, now_ns)
                    sends += self.hub.fail_attempt(tracked, attempt, CRASH, now_ns)
        return sends

    def on_reset(self, event: Reset, now_ns: int) -> list[Send]:
        if event.replica not in self.births_ns:
            return []
        self.hub.membership.block(event.replica, DOWN)
        up_ns = event.restart_ns + self.return_ns
        self.hub.events.schedule(up_ns, Kind.TIMER, event.replica, Ready(event.replica, DOWN))
        self.await_crash(event.replica, event.restart_ns + 1)
        return self.fail(event.replica, now_ns, event.crash_ns)

    def is_dead(self, replica: int, at_ns: int) -> bool:
        death = self.changes.timeline_of(replica).death_at(at_ns)
        birth_ns = self.births_ns.get(replica, 0)
        return death is not None and not (birth_ns and death.crash_ns <= birth_ns)

    # -------------------------------------------------------------------------------------------------------- requests

    def open(self, tracked: TrackedRequest, *rest: Any) -> list[Send]:
        """Send nothing to the dead."""
        (send,) = self.opener(tracked, *rest)
        at_ns = send.message.instant >> 7
        if not self.is_dead(send.receiver - 1, at_ns):
            return [send]
        assert tracked.last is not None
        refused = Refused(tracked.request.request_id, tracked.last.number)
        self.hub.events.schedule(at_ns + self.return_ns, Kind.GRANT, tracked.request.request_id, refused)
        return []

    def on_refused(self, event: Refused, now_ns: int) -> list[Send]:
        tracked = self.hub.requests.get(event.request_id)
        if tracked is None or event.attempt not in tracked.open:
            return []
        return self.hub.fail_attempt(tracked, tracked.open[event.attempt], CRASH, now_ns)

    def on_failure(self, tracked: TrackedRequest, attempt: Attempt | None, failure: str, now_ns: int) -> list[Send]:
        request_id = tracked.request.request_id
        self.failures[request_id] = self.failures.get(request_id, 0) + 1
        if self.failures[request_id] >= ATTEMPTS:
            return self.hub.end_request(tracked, tracked.row(FAILED, now_ns, failure), now_ns)
        # At least 1 ns: this instant's global schedules may be over.
        backoff_ns = max(1, round(self.changes.backoff_ms * MS * self.failures[request_id]))
        self.hub.events.schedule(now_ns + backoff_ns, Kind.GLOBAL_SCHEDULE, request_id, Retry(request_id))
        return []

    def on_retry(self, event: Retry, now_ns: int) -> list[Send]:
        tracked = self.hub.requests.get(event.request_id)
        return [] if tracked is None else self.hub.submit(tracked, now_ns)

    # ---------------------------------------------------------------------------------------------------------- scaler

    def tick_again(self, now_ns: int) -> None:
        if self.grid is not None:
            at_ns = now_ns + self.grid.period_ns
            needed = self.grid.needed(at_ns)
            self.hub.events.schedule(at_ns, Kind.TIMER, 1 << 20, Tick(), is_background=True, needed=needed)

    def on_grid_sample(self, grid: str, member: Member, sample: Sample, now_ns: int) -> None:
        assert grid == "scaler"
        self.loads[member.number] = sample.running + sample.waiting

    def on_tick(self, _event: Tick, now_ns: int) -> list[Send]:
        self.tick_again(now_ns)
        serving = [member.number for member in self.hub.membership if not member.blocked_by]
        load = sum(self.loads.get(replica, 0) for replica in serving)
        if load > 2 * len(serving):
            return self.on_join(JoinDue(), now_ns)
        if load <= len(serving) // 2 and len(serving) > 1:
            return self.on_leave(LeaveDue(serving[-1]), now_ns)
        return []
