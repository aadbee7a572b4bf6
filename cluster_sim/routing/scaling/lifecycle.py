"""Lives of replicas that come and go: cold start, drain with grace, leave.

A replica is there, and holds its GPUs, from the decision to have it until it leaves.  It takes requests from the end of
its cold start until it is drained; a draining one leaves when the last of its requests has ended, or when its grace is
over: what it still holds then fails, and recovery may try it elsewhere.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from cluster_sim.engine.hub_interface import Send
from cluster_sim.engine.instant import Kind
from cluster_sim.engine.observation import Observation
from cluster_sim.recording.reasons import DRAINED
from cluster_sim.routing.component import HubServices
from cluster_sim.routing.membership import DRAINING, GONE, STARTING, Member
from cluster_sim.routing.request_states import Attempt, TrackedRequest
from cluster_sim.routing.scaling.limits import Occupancy
from cluster_sim.routing.scaling.scaler_interface import ScaledPool

OWN_SEQUENCE: Final = -1
"""Before the client time-outs of one instant, which go by the ids of requests."""


class ReplicaReady(NamedTuple):
    """A cold start is over."""

    number: int


class ReplicaDrained(NamedTuple):
    """The last request of a draining replica has ended."""

    number: int


class DrainGraceOver(NamedTuple):
    """A draining replica has had its time."""

    number: int


class Lifecycle:
    """Starts and drains replicas."""

    def __init__(self, pools: Sequence[ScaledPool], victim: str = "youngest") -> None:
        """``pools`` are those of the study, in their order; ``victim`` is the replica of a pool that goes first."""
        self._pools = pools
        self._victim = victim
        self.observed: Observation | None = None
        """What replicas report that join now; None: as at the start."""
        self._held: dict[int, int] = {}
        """Open attempts of each draining replica."""

    def start(self, hub: HubServices) -> None:
        """Take the hub's services."""
        self._hub = hub

    def handlers(self) -> Mapping[type, Callable[[Any, int], list[Send]]]:
        """Return what handles each type of event."""
        return {ReplicaReady: self._on_ready, ReplicaDrained: self._on_drained, DrainGraceOver: self._on_grace_over}

    # ------------------------------------------------------------------------------------------------------- figures

    def members(self, pool: int) -> list[Member]:
        """Return the replicas of a pool that have not left and do not drain, in the order of their numbers."""
        return [member for member in self._hub.membership.of_pool(pool) if DRAINING not in member.blocked_by]

    def occupancy(self, pool: int) -> Occupancy:
        """Return what a pool has."""
        present = self._hub.membership.of_pool(pool)
        draining = sum(DRAINING in member.blocked_by for member in present)
        return Occupancy(len(present) - draining, draining)

    # ------------------------------------------------------------------------------------------------------- actions

    def bring_to(self, pool: int, replicas: int, now_ns: int) -> list[Send]:
        """Start or drain replicas until a pool has so many that do not drain."""
        members = self.members(pool)
        sends = [send for _ in range(replicas - len(members)) for send in self.launch(pool, now_ns)]
        for member in self._victims(members)[: max(0, len(members) - replicas)]:
            sends += self.retire(member.number, now_ns)
        return sends

    def launch(self, pool: int, now_ns: int) -> list[Send]:
        """Start a replica."""
        member, send = self._hub.membership.join(pool, now_ns)
        self._schedule(now_ns + max(1, self._pools[pool].cold_start_ns), ReplicaReady(member.number))
        if self.observed is None:
            return [send]
        return [send, self._hub.membership.observe(member.number, self.observed, now_ns)]

    def retire(self, number: int, now_ns: int) -> list[Send]:
        """Drain a replica; one that is not ready leaves at once."""
        member = self._hub.membership[number]
        is_starting = STARTING in member.blocked_by
        self._hub.membership.block(number, DRAINING)
        held = len(self._attempts_at(number))
        if is_starting or not held:
            return [self._hub.membership.leave(number, now_ns)]
        self._held[number] = held
        self._schedule(now_ns + self._pools[member.pool].drain_grace_ns, DrainGraceOver(number))
        return []

    def on_closed(self, attempt: Attempt, now_ns: int) -> None:
        """Note that the router no longer waits for an attempt."""
        number = attempt.target.source - 1
        if number in self._held:
            self._held[number] -= 1
            if not self._held[number]:
                self._schedule(now_ns + 1, ReplicaDrained(number))

    # -------------------------------------------------------------------------------------------------------- events

    def _on_ready(self, event: ReplicaReady, now_ns: int) -> list[Send]:
        del now_ns
        if GONE not in self._hub.membership[event.number].blocked_by:
            self._hub.membership.unblock(event.number, STARTING)
        return []

    def _on_drained(self, event: ReplicaDrained, now_ns: int) -> list[Send]:
        held = self._attempts_at(event.number)
        if held or event.number not in self._held:  # A hand-over may have sent it another leg.
            self._held.update({event.number: len(held)} if held else {})
            return []
        del self._held[event.number]
        return [self._hub.membership.leave(event.number, now_ns)]

    def _on_grace_over(self, event: DrainGraceOver, now_ns: int) -> list[Send]:
        if self._held.pop(event.number, None) is None:
            return []
        sends = [self._hub.membership.leave(event.number, now_ns)]
        for tracked, attempt in self._attempts_at(event.number):
            sends += self._hub.fail_attempt(tracked, attempt, DRAINED, now_ns)
        return sends

    # ------------------------------------------------------------------------------------------------------- helpers

    def _victims(self, members: list[Member]) -> list[Member]:
        """Return the replicas of a pool in the order in which they go: those that start, the youngest of them first."""
        starting = [member for member in reversed(members) if STARTING in member.blocked_by]
        ready = [member for member in members if STARTING not in member.blocked_by]
        if self._victim == "youngest":
            ready.reverse()
        elif self._victim == "least_outstanding":
            counts = dict.fromkeys((member.number for member in ready), 0)
            for tracked in self._hub.requests.values():
                for attempt in tracked.open.values():
                    if attempt.target.source - 1 in counts:
                        counts[attempt.target.source - 1] += 1
            ready.sort(key=lambda member: (counts[member.number], -member.number))
        return starting + ready

    def _attempts_at(self, number: int) -> list[tuple[TrackedRequest, Attempt]]:
        """Return the open attempts of a replica, in the order of the requests' ids."""
        requests = self._hub.requests
        return [
            (requests[request_id], attempt)
            for request_id in sorted(requests)
            for attempt in requests[request_id].open.values()
            if attempt.target.source - 1 == number
        ]

    def _schedule(self, time_ns: int, event: Any) -> None:
        self._hub.events.schedule(time_ns, Kind.TIMER, OWN_SEQUENCE, event, is_background=True)
