"""Degraded links: the times in which the ports of a replica carry a share of what they do otherwise.

Every port of the replica keeps that share, out and in; cards that a node's replicas share and routes between sites
keep all.  Of several faults at once the smallest share counts.  The times are those of the router, which runs ahead of
the transfers by the forward link of the replica that receives (``moves``).
"""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

from cluster_sim.engine.instant import Kind
from cluster_sim.replayed import Replayed
from cluster_sim.routing.component import HubServices
from cluster_sim.routing.faults.fault_effects import has_fault
from cluster_sim.routing.faults.fault_plan import FaultPlan
from cluster_sim.routing.handover.moves import Moves
from cluster_sim.routing.membership import GONE, Member
from cluster_sim.serving.lives.intervals import FOREVER_NS, Interval


class LinkEdge(NamedTuple):
    """A fault of the ports of a replica begins or ends."""

    replica: int
    fault: int
    """Its place in ``FaultPlan.transfer_faults``."""
    interval: Interval
    is_end: bool


class DegradedLinks:
    """What is left of the bandwidth of every replica's ports."""

    def __init__(self, plan: FaultPlan, moves: Moves) -> None:
        self.plan = plan
        self._faults = plan.transfer_faults
        self._moves = moves
        self._rest: dict[tuple[int, int], Iterator[Interval]] = {}
        """Times to come, by replica and fault."""
        self._lasting: dict[int, set[int]] = {}
        """Faults that last, by the replica."""

    def start(self, hub: HubServices) -> None:
        """Schedule the first edge of every fault of every replica."""
        self._hub = hub
        for fault, effect in enumerate(self._faults):
            for replica in sorted(effect.replicas):
                self._expect_first(replica, fault, -1)
        hub.membership.joined.append(self._on_join)

    def branch(self, other: "DegradedLinks", at_ns: int) -> None:
        """Take other faults, which differ in what begins at ``at_ns`` or later."""
        self.plan = other.plan
        self._faults = self.plan.transfer_faults
        self._hub.events.forget(LinkEdge)
        self._rest.clear()
        self._lasting.clear()
        for fault, effect in enumerate(self._faults):
            for member in self._hub.membership:
                if has_fault(effect, member.number, member.target.pool, joins=member.birth_ns >= 0):
                    self._take_up(member, fault, at_ns)

    def _take_up(self, member: Member, fault: int, at_ns: int) -> None:
        """Expect a fault from ``at_ns`` on, or its end if it lasts then, which the ports show already."""
        number, birth_ns = member.number, member.birth_ns
        times = self.plan.transfer_times(self._faults[fault], number, max(birth_ns, 0))
        self._rest[number, fault] = rest = Replayed(partial(_ending_after, times, max(birth_ns, at_ns - 1)))
        interval = next(rest, None)
        if interval is None:
            return
        edge = LinkEdge(number, fault, interval, is_end=False)
        if interval.start_ns >= max(at_ns, birth_ns + 1):
            self._schedule(edge, interval.start_ns)
            return
        self._lasting.setdefault(number, set()).add(fault)
        if interval.end_ns < FOREVER_NS:
            self._schedule(edge._replace(is_end=True), interval.end_ns)

    def on_edge(self, edge: LinkEdge, now_ns: int) -> None:
        """Change what the ports of a replica carry, and schedule the next edge."""
        if edge.is_end:
            self._lasting[edge.replica].discard(edge.fault)
            if GONE not in self._hub.membership[edge.replica].blocked_by:
                self._expect(edge.replica, edge.fault)
        else:
            self._lasting.setdefault(edge.replica, set()).add(edge.fault)
            if edge.interval.end_ns < FOREVER_NS:
                self._schedule(edge._replace(is_end=True), edge.interval.end_ns)
        lasting = self._lasting[edge.replica]
        share = min((self._faults[fault].bandwidth_ratio for fault in lasting), default=1.0)
        self._moves.degrade(edge.replica, share, now_ns)

    def _on_join(self, member: Member, birth_ns: int) -> None:
        for fault, effect in enumerate(self._faults):
            if has_fault(effect, member.number, member.target.pool, joins=True):
                self._expect_first(member.number, fault, birth_ns)

    def _expect_first(self, replica: int, fault: int, birth_ns: int) -> None:
        """Expect a fault of a replica that is there from ``birth_ns`` on; -1: from the beginning."""
        times = self.plan.transfer_times(self._faults[fault], replica, max(birth_ns, 0))
        self._rest[replica, fault] = Replayed(partial(_ending_after, times, birth_ns))
        self._expect(replica, fault, birth_ns)

    def _expect(self, replica: int, fault: int, birth_ns: int = -1) -> None:
        interval = next(self._rest[replica, fault], None)
        if interval is None:
            return
        edge = LinkEdge(replica, fault, interval, is_end=False)
        if interval.start_ns <= birth_ns:
            self.on_edge(edge, birth_ns)
        else:
            self._schedule(edge, interval.start_ns)

    def _schedule(self, edge: LinkEdge, time_ns: int) -> None:
        self._hub.events.schedule(time_ns, Kind.TIMER, edge.replica, edge, is_background=True)


def _ending_after(times: Iterable[Interval], time_ns: int) -> Iterator[Interval]:
    """Yield the intervals that end after a time."""
    return (interval for interval in times if interval.end_ns > time_ns)
