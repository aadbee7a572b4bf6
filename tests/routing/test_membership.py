"""Membership by hand: who takes requests, and replicas that join and leave."""

from functools import partial

from cluster_sim.engine.instant import Kind, instant
from cluster_sim.engine.process import HUB_SOURCE, Join, Message
from cluster_sim.routing.admission import StaticLimits
from cluster_sim.routing.candidates import Candidate, Candidates
from cluster_sim.routing.membership import DRAINING, GONE, LAST, STARTING, UNHEALTHY, Membership, PoolFacts
from cluster_sim.routing.policies.round_robin import RoundRobinOptions
from cluster_sim.routing.policy_interface import build_policy
from cluster_sim.routing.routes import Route, Target
from cluster_sim.serving.messages import Leave
from cluster_sim.workload.request import Request

LIMITS = StaticLimits(100, 10, 16)
LINK_NS = 7


def membership(replicas: int = 2) -> tuple[Route, Membership]:
    targets = [Target(number + 1, "main", LINK_NS, LIMITS) for number in range(replicas)]
    candidates = Candidates(replicas, 1, [LINK_NS] * replicas)
    route = Route(partial(build_policy, RoundRobinOptions()), targets, candidates)
    facts = PoolFacts(0, "model", Target(0, "main", LINK_NS, LIMITS), Candidate(-1, "main"))
    return route, Membership([facts], {"model": route, "": route})


def test_a_replica_takes_requests_while_nothing_blocks_it() -> None:
    """Two reasons block it until both are lifted; None stands for all replicas."""
    route, members = membership()
    request = Request(0, 0, 10, 10)
    assert route.eligible(request) is None
    members.block(1, DRAINING)
    members.block(1, UNHEALTHY)
    assert route.eligible(request) == [0]
    members.unblock(1, UNHEALTHY)
    assert route.eligible(request) == [0]
    members.unblock(1, DRAINING)
    assert route.eligible(request) is None
    members.block(0, UNHEALTHY)
    members.block(1, UNHEALTHY)
    assert route.eligible(request) == []


def test_a_replica_that_joins_gets_the_next_number() -> None:
    """Its first message starts it, it takes requests when it is ready, and nobody gets its number again."""
    route, members = membership()
    member, send = members.join(0, 100)
    assert (member.number, member.position, member.target.source) == (2, 2, 3)
    assert send.message == Message(instant(107, Kind.CANCELLATION), HUB_SOURCE, 2, Join(0))
    assert route.eligible(Request(0, 0, 10, 10)) == [0, 1]
    members.unblock(2, STARTING)
    assert route.eligible(Request(0, 0, 10, 10)) is None
    assert route.candidates.members[2].replica == 2
    send = members.leave(2, 200)
    assert send.message == Message(instant(207, Kind.CANCELLATION), HUB_SOURCE, LAST + 2, Leave(2))
    assert member.blocked_by == {GONE}
    assert members.of_pool(0) == [members[0], members[1]]
    assert members.join(0, 300)[0].number == 3


def test_routers_have_policies_of_their_own() -> None:
    """With two routers requests alternate between them by id, and each takes its own turns."""
    targets = [Target(number + 1, "main", 0, LIMITS) for number in range(2)]
    route = Route(partial(build_policy, RoundRobinOptions()), targets, Candidates(2, 1, [0, 0]), routers=2)
    requests = [Request(number, 0, 10, 10) for number in range(4)]
    assert [route.policy_of(request).choose(request, 0, None) for request in requests] == [0, 0, 1, 1]
    before = route.policies
    route.restart_routers()
    assert not set(map(id, before)) & set(map(id, route.policies))
