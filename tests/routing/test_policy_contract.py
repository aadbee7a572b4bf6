"""Contract of every routing policy that is registered, and of the one in docs/extend.md, which reads KV usage."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from random import Random
from types import ModuleType
from typing import Any

import pytest

from cluster_sim.routing.candidates import Candidate, Candidates
from cluster_sim.routing.options import RouterOptions, Telemetry
from cluster_sim.routing.policy_interface import ROUTING_POLICIES, RoutingPolicy, build_policy
from cluster_sim.serving.messages import Sample
from cluster_sim.simulation.inline import InlineExecutor
from cluster_sim.workload.request import Request
from tests.copied import copied
from tests.engine.in_memory import InMemoryExecutor, RestoringExecutor
from tests.engine.small_fleet import (
    SmallFleet,
    attributes_of,
    draw_fleet,
    draw_placement,
    simulation_of,
    single_stepped,
)
from tests.evidence import Evidence, evidence_of
from tests.outside_package import PAGE, recipe

EXAMPLE = "emptiest_cache"
NAMES = [*ROUTING_POLICIES.names(), EXAMPLE]
TELEMETRY = [Telemetry(period_ms=period, latency_ms=latency) for period, latency in ((5, 1), (0.5, 0), (0, 0))]


@pytest.fixture(autouse=True)
def _example_is_registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    draw_fleet(Random(0).randrange).study()  # Blocks of studies keep the parts that are known when they are first used.
    module = ModuleType("example")
    monkeypatch.setitem(sys.modules, "example", module)
    with ROUTING_POLICIES.isolated():
        exec(compile(recipe("policy"), str(PAGE), "exec"), vars(module))
        yield


def options_of(name: str, telemetry: Telemetry) -> Any:
    """Return the options of a policy; the one of the page tells any two KV usages apart."""
    own = {"tolerance_ratio": 0.001} if name == EXAMPLE else {}
    return ROUTING_POLICIES.get(name).options.model_validate({"telemetry": telemetry, **own})


def run(small: SmallFleet, options: RouterOptions, executor: InlineExecutor | None = None) -> Evidence:
    """Run a small fleet behind a policy."""
    simulation = replace(simulation_of(small), policy=partial(build_policy, options))
    return evidence_of(executor or InlineExecutor(), simulation)


@pytest.mark.parametrize("name", NAMES)
def test_options_are_described_and_have_defaults(name: str) -> None:
    """A policy has a line for users, and options that a study may leave out, each with a description."""
    entry = ROUTING_POLICIES.get(name)
    assert entry.summary.endswith(".")
    assert issubclass(entry.options, RouterOptions)
    assert entry.options().model_dump()["policy"] == name
    assert all(field.description for field in entry.options.model_fields.values())


@pytest.mark.parametrize("telemetry", TELEMETRY, ids=lambda telemetry: f"{telemetry.period_ms:g}ms")
@pytest.mark.parametrize("name", NAMES)
def test_neither_fast_forwarding_nor_placement_nor_snapshots_change_a_result(name: str, telemetry: Telemetry) -> None:
    """Rows, counters and series are equal with single steps, in groups with random delays, and after restores.

    Some of the studies have sessions, shared prompts and priorities.
    """
    random = Random(f"{name} {telemetry.period_ms}")
    for number in range(4):
        small = replace(draw_fleet(random.randrange), users=0, replicas=3, is_varied=number % 2 == 0)
        if small.is_varied:
            small.engine["enable_prefix_caching"] = True
        options = options_of(name, telemetry)
        expected = run(small, options)
        assert run(single_stepped(small), options) == expected
        placement = draw_placement(small.replicas, random.randrange)
        assert run(small, options, InMemoryExecutor(placement, random.randrange)) == expected
        assert run(small, options, InMemoryExecutor([[0], [1], [2]], random.randrange)) == expected
        assert run(small, options, RestoringExecutor(random.randrange)) == expected


@pytest.mark.parametrize("name", NAMES)
def test_a_fleet_that_changes_is_routed_by_what_is_left(name: str) -> None:
    """Replicas join and leave and requests end in any order; the answer is always an eligible position."""
    random = Random(name)
    policy: RoutingPolicy = build_policy(options_of(name, TELEMETRY[0]), Candidates(2, 7, [0, 0]))
    present, joined, in_flight = [0, 1], [], []
    for number in range(300):
        now_ns = number * 5_000_000
        if not random.randrange(10):
            position = policy.candidates.add(Candidate(policy.candidates.count, labels={"zone": "b"}), 1_000_000)
            policy.on_join(position)
            joined.append(position)
        if joined and not random.randrange(3):
            present.append(joined.pop(0))
        if len(present) > 1 and not random.randrange(15):
            gone = present.pop(random.randrange(len(present)))
            for request, position in [entry for entry in in_flight if entry[1] == gone]:
                end(policy, request, position)
            in_flight = [entry for entry in in_flight if entry[1] != gone]
            policy.on_leave(gone)
        if policy.observation.telemetry:
            for position in present:
                policy.observe(position, Sample(position, random.randrange(9), random.randrange(9), 0.5))
        request = Request(number, now_ns, 1 + random.randrange(40), 5, attributes_of(number, 40, is_varied=True))
        chosen = policy.choose(request, now_ns, list(present))
        assert chosen in present
        in_flight.append((request, chosen))
        for _ in range(random.randrange(3)):
            if in_flight:
                end(policy, *in_flight.pop(random.randrange(len(in_flight))))
    assert {chosen for _, chosen in in_flight} <= set(present)


def end(policy: RoutingPolicy, request: Request, position: int) -> None:
    """End a request; every other one had its first token before."""
    if policy.observes_first_tokens and request.request_id % 2:
        policy.on_first_token(position, request)
    if policy.observes_responses:
        policy.on_end(position, request)


@pytest.mark.parametrize("name", NAMES)
def test_a_policy_survives_a_snapshot(name: str) -> None:
    """A policy restored between two decisions goes on as one that was not, and names candidates only."""
    options = options_of(name, TELEMETRY[0])
    policy: RoutingPolicy = build_policy(options, Candidates(3, 7, [0, 0, 0]))

    def show(shown: RoutingPolicy, figures: tuple[int, ...]) -> None:
        if shown.observation.telemetry:
            for position, figure in enumerate(figures):
                shown.observe(position, Sample(position, figure, figure, figure / 10))

    show(policy, (4, 2, 3))
    for number in range(5):
        policy.choose(Request(number, 0, 10, 2), 0, None)
    twin = copied(policy, options)
    choices = []
    for each in (policy, twin):
        show(each, (3, 3, 1))
        choices.append([each.choose(Request(number, 0, 10, 2), 20_000_000, None) for number in range(5, 15)])
    assert choices[0] == choices[1]
    assert set(choices[0]) <= {0, 1, 2}


@pytest.mark.parametrize("name", NAMES)
def test_only_those_that_can_run_a_request_get_it(name: str) -> None:
    """Whatever was chosen before, the answer is one of the eligible positions; over time each of them gets some."""
    for eligible in ([3], [0, 4], [1, 2, 3]):
        policy: RoutingPolicy = build_policy(options_of(name, TELEMETRY[0]), Candidates(5, 7, [0] * 5))
        for number in range(20):
            policy.choose(Request(number, 0, 10, 2), 0, None)
        chosen = {policy.choose(Request(number, 0, 10, 2), 0, eligible) for number in range(20, 60)}
        assert chosen == set(eligible)


def test_kv_usage_is_sampled_if_a_policy_reads_it() -> None:
    """Under the policy of the page the usage inside long decodes decides, whether or not they are fast-forwarded.

    At 0 ms nothing is known, so six requests take turns.  Replica 0 then decodes three of 10 prompt tokens, replica 1
    one of 60: about 45 against 65 tokens of 1,000 at 5 ms, about 150 against 100 at 40 ms.
    """
    first = ((0, 10, 80), (0, 60, 80), (0, 10, 80), (0, 1, 1), (0, 10, 80), (0, 1, 1))
    small = SmallFleet(arrivals=(*first, (5, 1, 1), (40, 1, 1)), replicas=2, engine={"block_size": 1})
    options = options_of(EXAMPLE, Telemetry(period_ms=1, latency_ms=0))
    evidence = run(small, options)
    assert evidence.column("replica") == [0, 1, 0, 1, 0, 1, 0, 1]
    assert run(single_stepped(small), options) == evidence
