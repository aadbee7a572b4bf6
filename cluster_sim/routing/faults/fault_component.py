"""Faults as a component of the hub: resets, refusals, held-back messages, and restarts of the router.

The hub holds the truth, the timelines of all replicas, apart from what its policies know.  From it follow, without a
message of any replica: the instant at which connections are reset (a crash, one way back later), the refusal of what
is delivered to a replica that is down, and the delay of what is sent while a link is lost.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from cluster_sim.engine.hub_interface import Send
from cluster_sim.engine.instant import Kind, instant, time_of
from cluster_sim.recording.reasons import CRASH, ROUTER_RESTART, UNREACHABLE
from cluster_sim.recording.statuses import FAILED
from cluster_sim.replayed import Replayed
from cluster_sim.routing.component import HubComponent, HubServices
from cluster_sim.routing.faults.fault_plan import FaultPlan
from cluster_sim.routing.membership import GONE, Member
from cluster_sim.routing.request_states import Attempt, TrackedRequest
from cluster_sim.serving.lives.intervals import FOREVER_NS, Interval
from cluster_sim.serving.lives.timeline import NO_FAULTS, Crash, Timeline
from cluster_sim.serving.messages import Dispatch

ROUTER = "router"
"""The reason that blocks every replica while the router is away."""


class Reset(NamedTuple):
    """The router sees that a replica has crashed: its connections break."""

    replica: int
    crash: Crash


class Refused(NamedTuple):
    """A replica that is down has refused an attempt."""

    request_id: int
    attempt: int


class Restarted(NamedTuple):
    """A replica that has crashed answers scrapes again."""

    replica: int
    restart_ns: int


class RouterDown(NamedTuple):
    """The router goes down; it comes back at the end of the interval."""

    interval: Interval


class RouterUp(NamedTuple):
    """The router is back."""


class FaultInjection(HubComponent):
    """What the faults of a study do at the hub."""

    def __init__(self, plan: FaultPlan) -> None:
        self.plan = plan
        self._timelines: dict[int, Timeline] = {}
        """By the replicas that have any fault."""
        self._open: dict[int, dict[tuple[int, int], Attempt]] = {}
        """The attempts that the router waits for, by replica, request id and number."""
        self._restarts: Iterator[Interval] = iter(())

    def start(self, hub: HubServices) -> None:
        """Schedule the first crash of every replica, and the first restart of the router."""
        super().start(hub)
        hub.links = self
        hub.membership.joined.append(self._on_join)
        for member in hub.membership:
            self._watch(member, 0)
        self._restarts = Replayed(self.plan.router_restarts.__iter__)
        self._expect_restart()

    def branch(self, other: "FaultInjection", at_ns: int) -> None:
        """Take other faults, which differ in what begins later than all that replicas have decided."""
        self.plan = other.plan
        events = self.hub.events
        unseen = {reset.replica: reset.crash.crash_ns for reset in events.forget(Reset)}
        returning = events.forget(Restarted)
        self._timelines.clear()
        for member in self.hub.membership:
            self._watch(member, min(at_ns, unseen.get(member.number, at_ns)))
        for event in returning:
            self._expect_return(event)
        self._open.clear()
        for tracked in self.hub.requests.values():
            for attempt in tracked.open.values():
                self.on_opened(tracked, attempt, at_ns)
        self._branch_restarts(at_ns)

    def handlers(self) -> Mapping[type, Callable[[Any, int], list[Send]]]:
        return {
            Reset: self._on_reset,
            Refused: self._on_refused,
            Restarted: self._on_restarted,
            RouterDown: self._on_router_down,
            RouterUp: self._on_router_up,
        }

    # ---------------------------------------------------------------------------------------------------------- sends

    def pass_on(self, sends: list[Send], now_ns: int) -> list[Send]:
        """Return what of ``sends`` reaches its receiver, delayed where the link is lost; refuse the rest."""
        passed = []
        for send in sends:
            timeline = self._timelines.get(send.receiver - 1)
            kept = send if timeline is None else self._delivered(send, timeline, now_ns)
            if kept is not None:
                passed.append(kept)
        return passed

    def delivery_ns(self, attempt: Attempt, now_ns: int, *, is_dispatch: bool) -> int:
        """Return when the replica of an attempt has what is sent at ``now_ns``, whether or not it is up then."""
        timeline = self._timelines.get(attempt.target.source - 1)
        forward_ns = attempt.target.forward_ns
        if timeline is None:
            return now_ns + forward_ns
        return now_ns + forward_ns + _delay_ns(timeline, now_ns, attempt.number, is_dispatch=is_dispatch)

    def answer_ns(self, number: int, now_ns: int, return_ns: int) -> int:
        """Return when the router has what a replica sends at ``now_ns``."""
        timeline = self._timelines.get(number)
        return (now_ns if timeline is None else timeline.passes_ns(now_ns)) + return_ns

    def _delivered(self, send: Send, timeline: Timeline, now_ns: int) -> Send | None:
        message, payload = send.message, send.message.payload
        is_dispatch = isinstance(payload, Dispatch)
        delay_ns = _delay_ns(timeline, now_ns, getattr(payload, "attempt", 0), is_dispatch=is_dispatch)
        if delay_ns:
            message = message._replace(instant=message.instant + instant(delay_ns, 0))
            send = send._replace(message=message)
        delivery_ns = time_of(message.instant)
        if delivery_ns >= FOREVER_NS:
            return None
        if timeline.death_at(delivery_ns) is None or not hasattr(payload, "attempt"):
            return send
        if isinstance(payload, Dispatch):
            member = self.hub.membership[send.receiver - 1]
            answer_ns = self.answer_ns(member.number, delivery_ns, member.target.return_ns)
            refused = Refused(payload.request.request_id, payload.attempt)
            if answer_ns < FOREVER_NS:
                self.hub.events.schedule(answer_ns, Kind.GRANT, payload.request.request_id, refused, is_background=True)
        return None

    # ---------------------------------------------------------------------------------------------------------- lives

    def _on_join(self, member: Member, birth_ns: int) -> None:
        self._watch(member, birth_ns)

    def _watch(self, member: Member, since_ns: int) -> None:
        """Expect what befalls a replica from ``since_ns`` on."""
        timeline = self.plan.timeline_of_member(member)
        if timeline is not NO_FAULTS:
            self._timelines[member.number] = timeline
            self._expect_crash(member.number, max(since_ns, member.birth_ns + 1))

    def _expect_crash(self, number: int, since_ns: int) -> None:
        crash = self._timelines[number].crash_from(since_ns)
        if crash is None:
            return
        seen_ns = self.answer_ns(number, crash.crash_ns, self.hub.membership[number].target.return_ns)
        if seen_ns < FOREVER_NS:
            needed = instant(crash.crash_ns, Kind.FAULT) + 1
            reset = Reset(number, crash)
            self.hub.events.schedule(seen_ns, Kind.RESET, number, reset, is_background=True, needed=needed)

    def _on_reset(self, event: Reset, now_ns: int) -> list[Send]:
        """Fail every attempt that had been delivered before the crash."""
        number, crash = event
        sends: list[Send] = []
        if GONE not in self.hub.membership[number].blocked_by:
            self._expect_crash(number, crash.restart_ns + 1)
        self.hub.note_silence(number, crash.crash_ns)
        self._expect_return(Restarted(number, crash.restart_ns))
        for (request_id, _), attempt in sorted(self._open.get(number, {}).items(), key=lambda item: item[0]):
            delivery_ns = self.delivery_ns(attempt, attempt.dispatch_ns, is_dispatch=True)
            tracked = self.hub.requests.get(request_id)
            # The failure of another one may have ended this one.
            if delivery_ns < crash.crash_ns and tracked is not None and attempt.number in tracked.open:
                sends += self.hub.fail_attempt(tracked, attempt, CRASH, now_ns)
        return sends

    def _expect_return(self, event: Restarted) -> None:
        number, restart_ns = event
        back_ns = self.answer_ns(number, restart_ns, self.hub.membership[number].target.return_ns)
        if back_ns < FOREVER_NS:
            self.hub.events.schedule(back_ns, Kind.TIMER, number, event, is_background=True)

    def _on_restarted(self, event: Restarted, _now_ns: int) -> list[Send]:
        self.hub.note_silence(event.replica, -1)
        return []

    def _on_refused(self, event: Refused, now_ns: int) -> list[Send]:
        tracked = self.hub.requests.get(event.request_id)
        attempt = None if tracked is None else tracked.open.get(event.attempt)
        if tracked is None or attempt is None:
            return []
        return self.hub.fail_attempt(tracked, attempt, UNREACHABLE, now_ns)

    def on_opened(self, tracked: TrackedRequest, attempt: Attempt, now_ns: int) -> None:
        number = attempt.target.source - 1
        if number in self._timelines:
            self._open.setdefault(number, {})[tracked.request.request_id, attempt.number] = attempt

    def on_closed(self, tracked: TrackedRequest, attempt: Attempt, now_ns: int) -> None:
        number = attempt.target.source - 1
        if number in self._open:
            self._open[number].pop((tracked.request.request_id, attempt.number), None)

    # ----------------------------------------------------------------------------------------------------- the router

    def _expect_restart(self) -> None:
        interval = next(self._restarts, None)
        if interval is not None:
            self._expect_beginning(interval)

    def _branch_restarts(self, at_ns: int) -> None:
        """Expect the restarts from ``at_ns`` on, the end of one that has begun among them."""
        self.hub.events.forget(RouterDown)
        self.hub.events.forget(RouterUp)
        self._restarts = Replayed(partial(_ending_from, self.plan.router_restarts, at_ns))
        interval = next(self._restarts, None)
        if interval is not None:
            (self._expect_end if interval.start_ns < at_ns else self._expect_beginning)(interval)

    def _expect_beginning(self, interval: Interval) -> None:
        self.hub.events.schedule(interval.start_ns, Kind.TIMER, -1, RouterDown(interval), is_background=True)

    def _expect_end(self, interval: Interval) -> None:
        if interval.end_ns < FOREVER_NS:
            # A global schedule: every sample that is visible has been read, and is forgotten with the rest.
            self.hub.events.schedule(interval.end_ns, Kind.GLOBAL_SCHEDULE, -1, RouterUp(), is_background=True)

    def _on_router_down(self, event: RouterDown, now_ns: int) -> list[Send]:
        """Break every stream, and forget what waits."""
        hub, sends = self.hub, []
        for member in hub.membership:
            hub.membership.block(member.number, ROUTER)
        for request_id in sorted(hub.requests):
            tracked = hub.requests.get(request_id)
            if tracked is not None:
                sends += hub.end_request(tracked, tracked.row(FAILED, now_ns, ROUTER_RESTART), now_ns)
        self._expect_end(event.interval)
        return sends

    def _on_router_up(self, _event: RouterUp, _now_ns: int) -> list[Send]:
        self.hub.restart_routers()
        for member in self.hub.membership:
            self.hub.membership.unblock(member.number, ROUTER)
        self._expect_restart()
        return []


def _ending_from(times: Iterable[Interval], time_ns: int) -> Iterator[Interval]:
    """Yield the intervals that end at a time or later."""
    return (interval for interval in times if interval.end_ns >= time_ns)


def _delay_ns(timeline: Timeline, now_ns: int, attempt: int, *, is_dispatch: bool) -> int:
    """Return how long what is sent at ``now_ns`` waits for the link.

    What has waited comes in order: attempts of a request after each other, a cancellation after what it cancels, also
    where the link is back just when it is sent.
    """
    after_ns = attempt + (not is_dispatch)
    since_ns = now_ns if is_dispatch else max(now_ns - after_ns, 0)
    for sent_ns in (now_ns, since_ns):
        back_ns = timeline.passes_ns(sent_ns)
        if back_ns > sent_ns:
            return back_ns + after_ns - now_ns
    return 0
