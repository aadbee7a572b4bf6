"""Membership: which replicas there are, and why some of them take no requests.

A replica takes requests while nothing blocks it.  Several reasons may block it at once (it starts, and its pool is
drained); each is lifted by whoever gave it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from cluster_sim.engine.hub_interface import Send
from cluster_sim.engine.instant import Kind, instant
from cluster_sim.engine.observation import Observation
from cluster_sim.engine.process import HUB_SOURCE, Join, Message
from cluster_sim.routing.candidates import Candidate
from cluster_sim.routing.routes import Route, Target
from cluster_sim.serving.messages import Leave, Observe

STARTING = "starting"
"""It joins, and is not ready."""
DRAINING = "draining"
"""It serves what it has, and leaves."""
DOWN = "down"
"""The router knows that it has crashed."""
UNHEALTHY = "unhealthy"
"""Health checks or a circuit breaker keep requests away from it."""
GONE = "gone"
"""It has left."""


LAST: Final = 1 << 40
"""Sequence numbers beyond those of requests: a cancellation that arrives when a replica leaves is handled before."""


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """What the router must know of a pool to add replicas to it."""

    index: int
    """Among the study's pools."""
    model: str
    target: Target
    """Of a replica, without its number."""
    candidate: Candidate
    """The same for policies."""
    ranks: int = 1
    """Data-parallel ranks that are targets of their own; 1 leaves the choice of a rank to the engine."""

    def targets(self, number: int) -> list[tuple[Target, Candidate]]:
        """Return a replica of this pool as targets: itself, or its ranks, each with its part of the price."""
        target, candidate = replace(self.target, source=number + 1), replace(self.candidate, replica=number)
        if self.ranks == 1:
            return [(target, candidate)]
        part = replace(candidate, usd_per_hour=candidate.usd_per_hour / self.ranks)
        return [(replace(target, rank=rank), replace(part, rank=rank)) for rank in range(self.ranks)]


@dataclass(slots=True)
class Member:
    """One replica."""

    number: int
    pool: int
    route: Route
    position: int
    """Among the route's targets; of its first rank where ranks are targets."""
    ranks: int = 1
    """Targets that it has, one after the other."""
    blocked_by: set[str] = field(default_factory=set)
    birth_ns: int = -1
    """When it began to exist; -1: it is there from the beginning."""

    @property
    def positions(self) -> range:
        """Its targets among the route's."""
        return range(self.position, self.position + self.ranks)

    @property
    def target(self) -> Target:
        """The replica as requests see it, or its first rank."""
        return self.route.targets[self.position]


class Membership:
    """The replicas of a run, by number."""

    def __init__(self, pools: Sequence[PoolFacts], routes: Mapping[str, Route]) -> None:
        """``routes`` hold the replicas of the start, of which pools name the models."""
        self.pools = list(pools)
        self._routes = routes
        self._members: dict[int, Member] = {}
        indices = {facts.target.pool: facts.index for facts in pools}
        for route in dict.fromkeys(routes.values()):
            for position, target in enumerate(route.targets):
                number = target.source - 1
                if number in self._members:
                    self._members[number].ranks += 1
                else:
                    self._members[number] = Member(number, indices.get(target.pool, 0), route, position)
        self._next_number = max(self._members, default=-1) + 1
        self.freed: list[Callable[[int], None]] = []
        """Whoever is told the number of a replica that takes requests again, or for the first time."""
        self.joined: list[Callable[[Member, int], None]] = []
        """Whoever is told of a replica that joins, and when it begins to exist."""
        self.blocked: list[Callable[[int, str], None]] = []
        """Whoever is told the number of a replica that is blocked for a reason."""

    def __getitem__(self, number: int) -> Member:
        return self._members[number]

    def __iter__(self) -> Iterator[Member]:
        """Yield every replica that has ever been there, in the order of numbers."""
        return iter(self._members.values())

    def of_pool(self, pool: int) -> list[Member]:
        """Return the replicas of a pool that have not left."""
        return [member for member in self if member.pool == pool and GONE not in member.blocked_by]

    def join(self, pool: int, now_ns: int) -> tuple[Member, Send]:
        """Add a replica to a pool; it is starting.

        Returns it with the message that starts it, which arrives a link later.
        """
        facts, number = self.pools[pool], self._next_number
        self._next_number += 1
        route = self._routes[facts.model]
        positions = [route.add(target, candidate) for target, candidate in facts.targets(number)]
        birth_ns = now_ns + facts.target.forward_ns
        member = Member(number, pool, route, positions[0], len(positions), {STARTING}, birth_ns)
        self._members[number] = member
        target = member.target
        arrival = instant(birth_ns, Kind.CANCELLATION)
        for note in self.joined:
            note(member, birth_ns)
        return member, Send(target.source, Message(arrival, HUB_SOURCE, number, Join(pool)), 0)

    def leave(self, number: int, now_ns: int) -> Send:
        """Take a replica out for ever; return the message that ends it.  Its attempts are the caller's to close."""
        member = self._members[number]
        self.block(number, GONE)
        for position in member.positions:
            member.route.remove(position)
        arrival = instant(now_ns + member.target.forward_ns, Kind.CANCELLATION)
        return Send(member.target.source, Message(arrival, HUB_SOURCE, LAST + number, Leave(number)), 0)

    def observe(self, number: int, observation: Observation, now_ns: int) -> Send:
        """Return the message that tells a replica what it reports from now on: after that with which it joins, and
        before that with which it leaves.
        """
        target = self._members[number].target
        arrival = instant(now_ns + target.forward_ns, Kind.CANCELLATION)
        # What it reports thereafter may be the first token of what it is about to be sent: one batch away.
        return Send(target.source, Message(arrival, HUB_SOURCE, LAST - 1, Observe(observation)), 1)

    def block(self, number: int, reason: str) -> None:
        """Keep requests away from a replica for a reason."""
        member = self._members[number]
        if not member.blocked_by:
            for position in member.positions:
                member.route.block(position)
        member.blocked_by.add(reason)
        for note in self.blocked:
            note(number, reason)

    def unblock(self, number: int, reason: str) -> None:
        """Lift one reason; the replica takes requests when none is left."""
        member = self._members[number]
        if reason not in member.blocked_by:
            return
        member.blocked_by.discard(reason)
        if not member.blocked_by:
            for position in member.positions:
                member.route.unblock(position)
            for note in self.freed:
                note(number)
