"""Health checks as a component of the hub: replicas that are found unhealthy take no requests."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from heapq import merge
from typing import Any, NamedTuple

from cluster_sim.engine.hub_interface import Send
from cluster_sim.engine.instant import Kind
from cluster_sim.recording.reasons import UNREACHABLE
from cluster_sim.replayed import Replayed
from cluster_sim.routing.component import HubComponent, HubServices
from cluster_sim.routing.faults.fault_plan import FaultPlan
from cluster_sim.routing.membership import GONE, UNHEALTHY, Member
from cluster_sim.routing.recovery.health_checks import HealthOptions, Verdict, verdicts
from cluster_sim.routing.request_states import Attempt, TrackedRequest
from cluster_sim.serving.lives.intervals import FOREVER_NS, Interval, united
from cluster_sim.serving.lives.timeline import NO_FAULTS


class HealthVerdict(NamedTuple):
    """The verdict about a replica changes."""

    replica: int
    is_healthy: bool


class HealthChecks(HubComponent):
    """Probes of every replica, as far as they change something."""

    def __init__(self, options: HealthOptions, plan: FaultPlan) -> None:
        """``plan`` has the faults that there are to be found."""
        self._options = options
        self.plan = plan
        self._verdicts: dict[int, Iterator[Verdict]] = {}
        self._open: dict[int, dict[tuple[int, int], Attempt]] = {}
        """The attempts at each replica, by request id and number."""

    def handlers(self) -> Mapping[type, Callable[[Any, int], list[Send]]]:
        return {HealthVerdict: self._on_verdict}

    def start(self, hub: HubServices) -> None:
        """Expect the first verdict about every replica."""
        super().start(hub)
        hub.membership.joined.append(self._on_join)
        for member in hub.membership:
            self._watch(member)

    def branch(self, other: "HealthChecks", at_ns: int) -> None:
        """Find other faults, which differ in what begins later."""
        self.plan = other.plan
        self.hub.events.forget(HealthVerdict)
        self._verdicts.clear()
        for member in self.hub.membership:
            self._watch(member, at_ns)

    def _on_join(self, member: Member, _birth_ns: int) -> None:
        self._watch(member)

    def _watch(self, member: Member, since_ns: int = 0) -> None:
        """Probe a replica while it is there, and expect the first verdict from ``since_ns`` on."""
        timeline = self.plan.timeline_of_member(member)
        if timeline is NO_FAULTS:
            return
        silences = [timeline.outages.source]
        if self._options.probe == "generation":
            silences.append(timeline.hangs.source)
        target = member.target
        ways = max(member.birth_ns, 0), target.forward_ns, target.return_ns
        self._verdicts[member.number] = Replayed(
            partial(_verdicts_of, self._options, timeline.crashes.source, silences, *ways)
        )
        self._expect(member.number, since_ns)

    def _expect(self, number: int, since_ns: int = 0) -> None:
        verdict = next((verdict for verdict in self._verdicts[number] if verdict.at_ns >= since_ns), None)
        if verdict is not None and verdict.at_ns < FOREVER_NS:
            event = HealthVerdict(number, verdict.is_healthy)
            self.hub.events.schedule(verdict.at_ns, Kind.TIMER, number, event, is_background=True)

    def _on_verdict(self, event: HealthVerdict, now_ns: int) -> list[Send]:
        number, is_healthy = event
        membership, sends = self.hub.membership, []
        if GONE in membership[number].blocked_by:
            return []
        self._expect(number)
        if is_healthy:
            membership.unblock(number, UNHEALTHY)
            return []
        membership.block(number, UNHEALTHY)
        if self._options.fails_requests:
            for (request_id, attempt_number), attempt in sorted(self._open.get(number, {}).items(), key=_key):
                tracked = self.hub.requests.get(request_id)
                if tracked is not None and attempt_number in tracked.open:
                    sends += self.hub.give_up(tracked, attempt, UNREACHABLE, now_ns)
        return sends

    def on_opened(self, tracked: TrackedRequest, attempt: Attempt, now_ns: int) -> None:
        if self._options.fails_requests:
            key = tracked.request.request_id, attempt.number
            self._open.setdefault(attempt.target.source - 1, {})[key] = attempt

    def on_closed(self, tracked: TrackedRequest, attempt: Attempt, now_ns: int) -> None:
        if self._options.fails_requests:
            self._open.get(attempt.target.source - 1, {}).pop((tracked.request.request_id, attempt.number), None)


def _verdicts_of(
    options: HealthOptions, crashes: Iterable[Interval], silences: Sequence[Iterable[Interval]], *ways: int
) -> Iterator[Verdict]:
    """Yield the verdicts about a replica with such crashes and silences; ``ways`` as ``verdicts`` takes them."""
    return verdicts(options, crashes, united(merge(*silences)), *ways)


def _key(item: tuple[tuple[int, int], Attempt]) -> tuple[int, int]:
    return item[0]
