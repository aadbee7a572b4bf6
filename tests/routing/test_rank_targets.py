"""Data-parallel ranks as targets of the router."""

from dataclasses import fields, replace
from random import Random

import pytest

from cluster_sim.engine.instant import NEVER
from cluster_sim.errors import InputError
from cluster_sim.routing.membership import DRAINING
from cluster_sim.serving.messages import Dispatch, Sample
from cluster_sim.simulation.inline import InlineExecutor
from cluster_sim.simulation.plan import make_plan
from cluster_sim.workload.request import Attributes, Request
from tests.engine.in_memory import InMemoryExecutor
from tests.engine.small_fleet import (
    MS,
    Listed,
    SmallFleet,
    draw_fleet,
    draw_placement,
    prepare,
    simulation_of,
    single_stepped,
)
from tests.evidence import evidence_of
from tests.serving.schedulers.test_data_parallel import RankedFleet

RANKS = (("data_parallel", 2), ("expert_parallel", 1), ("route_ranks", True), ("usd_per_gpu_hour", 3.0))


def test_each_rank_is_a_candidate_of_its_own() -> None:
    """Two replicas of two ranks are four candidates, each with its own cache and its part of the price."""
    small = RankedFleet(replicas=2, engine={"num_kv_blocks": 101, "max_num_seqs": 7}, ranks=RANKS)
    (route,) = {id(route): route for route in prepare(small).hub.routes.values()}.values()
    facts = [
        (member.replica, member.rank, member.kv_blocks, member.max_num_seqs) for member in route.candidates.members
    ]
    assert facts == [(0, 0, 100, 7), (0, 1, 100, 7), (1, 0, 100, 7), (1, 1, 100, 7)]
    assert [member.usd_per_hour for member in route.candidates.members] == [3.0] * 4
    assert [(target.source, target.rank) for target in route.targets] == [(1, 0), (1, 1), (2, 0), (2, 1)]


def test_a_dispatch_names_its_rank() -> None:
    """Turns go over the ranks of all replicas; without the option the engine chooses."""
    arrivals = tuple((0.0, 10, 2) for _ in range(5))
    for pool, expected in (
        (RANKS, [(1, 0), (1, 1), (2, 0), (2, 1), (1, 0)]),
        (RANKS[:2], [(1, -1), (2, -1)] * 2 + [(1, -1)]),
    ):
        hub = prepare(RankedFleet(arrivals, replicas=2, ranks=pool)).hub
        named = []
        while hub.next_event() < NEVER:
            for send in hub.handle():
                assert isinstance(send.message.payload, Dispatch)
                named.append((send.receiver, send.message.payload.rank))
        assert named == expected


def test_a_rank_keeps_the_prefixes_of_its_sessions() -> None:
    """One replica, two ranks, two sessions in turn: with ranks as targets each turn finds all that was computed before;
    the engine, which goes by the number of requests, puts the first idle rank's requests together.
    """
    requests = [
        Request(number, number * 100 * MS, 32 * (1 + number // 2) + 1, 2, attributes(number % 2, number // 2))
        for number in range(6)
    ]
    small = RankedFleet(engine={"enable_prefix_caching": True}, policy="session_affinity", ranks=RANKS)
    evidence = evidence_of(InlineExecutor(), replace(simulation_of(small), source=lambda: Listed(requests)))
    assert evidence.column("cached_tokens") == [0, 0, 32, 32, 64, 64]


def attributes(session: int, turn: int) -> Attributes:
    segments = tuple((session * 10 + number, 32) for number in range(1 + turn))
    return Attributes(session_id=session, segments=(*segments, (100 + session * 10 + turn, 1)))


def test_a_replica_is_blocked_with_all_its_ranks() -> None:
    """Draining takes both ranks out, and a replica that joins adds two targets."""
    run = prepare(RankedFleet(replicas=2, ranks=RANKS))
    hub = run.hub
    route = hub.membership[0].route
    assert hub.membership[1].positions == range(2, 4)
    hub.membership.block(0, DRAINING)
    assert list(route.available) == [2, 3]
    member, _ = hub.membership.join(0, 0)
    assert (member.number, member.positions) == (2, range(4, 6))
    hub.membership.unblock(2, "starting")
    hub.membership.unblock(0, DRAINING)
    hub.membership.leave(1, 0)
    assert list(route.available) == [0, 1, 4, 5]


def test_a_rank_shows_its_share_of_a_sample() -> None:
    """Five running and three waiting requests are two and one for each of two ranks."""
    assert Sample(0, 5, 3, 0.5).share(2) == Sample(0, 2, 1, 0.5)


def test_results_depend_on_neither_placement_nor_steps() -> None:
    """Random studies with ranks as targets leave the same in one group, several groups, and single steps."""
    random = Random(4)
    for number in range(12):
        drawn = draw_fleet(random.randrange)
        engine = drawn.engine | {"enable_prefix_caching": number % 2 == 0}
        policy = ("least_outstanding", "least_loaded", "cache_aware", "dynamo_kv", "session_affinity", "least_kv")[
            number % 6
        ]
        values = {field.name: getattr(drawn, field.name) for field in fields(SmallFleet)}
        values |= {"engine": engine, "policy": policy, "replicas": 2, "is_varied": True}
        small = RankedFleet(**values, ranks=RANKS)
        expected = evidence_of(InlineExecutor(), simulation_of(small))
        assert evidence_of(InlineExecutor(), simulation_of(single_stepped(small))) == expected
        placement = draw_placement(2, random.randrange)
        assert evidence_of(InMemoryExecutor(placement, random.randrange), simulation_of(small)) == expected


def test_ranks_that_are_not_there_are_refused() -> None:
    """The option needs ranks."""
    with pytest.raises(InputError, match=r"^fleet\.pools\.0\.route_ranks: .*set data_parallel above 1, or false"):
        make_plan(RankedFleet(ranks=(("route_ranks", True),)).study())
