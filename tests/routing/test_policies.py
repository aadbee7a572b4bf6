"""Routing policies by hand: the replicas that each chooses, and what it declares to observe."""

from collections.abc import Sequence
from typing import Any

import pytest

from cluster_sim.engine.observation import NOTHING, Observation
from cluster_sim.routing.candidates import Candidate, Candidates
from cluster_sim.routing.policy_interface import ROUTING_POLICIES, RoutingPolicy, build_policy
from cluster_sim.serving.messages import Sample
from cluster_sim.workload.request import Request

MS = 1_000_000


def policy(name: str, count: int = 3, seed: int = 1, forward_ns: int = 0, **options: Any) -> RoutingPolicy:
    chosen = ROUTING_POLICIES.get(name).options.model_validate({"ties": "first"} | options)
    return build_policy(chosen, Candidates(count, seed, [forward_ns] * count))


def choices(chosen_by: RoutingPolicy, ids: range, now_ns: int = 0, eligible: Sequence[int] | None = None) -> list[int]:
    return [chosen_by.choose(Request(number, now_ns, 1, 1), now_ns, eligible) for number in ids]


def test_round_robin_takes_turns() -> None:
    """Each candidate in turn, observing nothing."""
    chosen_by = policy("round_robin")
    assert chosen_by.observation == NOTHING
    assert choices(chosen_by, range(7)) == [0, 1, 2, 0, 1, 2, 0]


def test_turns_pass_over_those_that_cannot() -> None:
    """The next in turn that can run the request, and the turns go on behind it."""
    chosen_by = policy("round_robin", count=4)
    assert choices(chosen_by, range(2), eligible=[1, 3]) == [1, 3]
    assert choices(chosen_by, range(2)) == [0, 1]
    assert choices(chosen_by, range(3), eligible=[0, 1]) == [0, 1, 0]


def test_random_is_keyed_by_the_request() -> None:
    """A request's draw depends on seed and id only, and the draws are spread evenly."""
    drawn = choices(policy("random"), range(3000))
    assert choices(policy("random"), range(1500, 3000)) == drawn[1500:]
    assert choices(policy("random", seed=2), range(3000)) != drawn
    for candidate in range(3):
        assert 900 < drawn.count(candidate) < 1100


def test_least_outstanding_counts_what_is_not_back() -> None:
    """Fewest in flight, with `ties: first` the first among equals; an end lowers the count."""
    chosen_by = policy("least_outstanding")
    assert chosen_by.observation == Observation(responses=True)
    assert choices(chosen_by, range(4)) == [0, 1, 2, 0]
    chosen_by.on_end(2, Request(2, 0, 1, 1))
    chosen_by.on_end(1, Request(1, 0, 1, 1))
    assert choices(chosen_by, range(4, 7)) == [1, 2, 1]


def test_the_least_of_those_that_can() -> None:
    """Counts of all dispatches decide, among the eligible candidates only."""
    chosen_by = policy("least_outstanding")
    assert choices(chosen_by, range(3), eligible=[1, 2]) == [1, 2, 1]
    assert choices(chosen_by, range(3, 5)) == [0, 0]
    assert choices(chosen_by, range(5, 6), eligible=[1, 2]) == [2]


def test_least_loaded_adds_what_no_sample_shows() -> None:
    """Sampled running and waiting requests, plus own dispatches delivered at the newest visible sample or later."""
    chosen_by = policy("least_loaded", count=2, forward_ns=2 * MS, telemetry={"period_ms": 10, "latency_ms": 1})
    fields = frozenset({"running", "waiting"})
    assert chosen_by.observation == Observation(telemetry=True, period_ns=10 * MS, latency_ns=MS, sampled_fields=fields)
    chosen_by.observe(0, Sample(0, 2, 1, 0.5))
    chosen_by.observe(1, Sample(1, 0, 1, 0.5))
    assert choices(chosen_by, range(3), 7 * MS) == [1, 1, 0]  # Loads 3 and 1, 3 and 2, 3 and 3.
    # Those were delivered at 9 ms.  At 10.9 ms the sample of 10 ms is not visible yet, at 11 ms it is.
    assert choices(chosen_by, range(3, 4), 11 * MS - 1) == [1]  # Loads 4 and 3.
    chosen_by.observe(0, Sample(0, 0, 0, 0.0))
    chosen_by.observe(1, Sample(1, 2, 1, 0.0))
    assert choices(chosen_by, range(4, 5), 11 * MS) == [0]  # Loads 0 and 3, plus one delivered at 12.9 ms.


def test_least_waiting_does_not_count_running_requests() -> None:
    """The shortest waiting queue wins however many requests run."""
    chosen_by = policy("least_waiting", count=2, telemetry={"period_ms": 0, "latency_ms": 0})
    assert chosen_by.observation.is_instantaneous
    chosen_by.observe(0, Sample(0, 0, 2, 0.0))
    chosen_by.observe(1, Sample(1, 50, 1, 0.0))
    assert choices(chosen_by, range(1)) == [1]


@pytest.mark.parametrize("name", ["round_robin", "random", "least_outstanding", "least_loaded", "least_waiting"])
def test_a_candidate_that_joins_is_chosen(name: str) -> None:
    """A replica that joins takes part from the next choice on, as one that has got nothing."""
    chosen_by = policy(name)
    assert set(choices(chosen_by, range(3))) <= {0, 1, 2}
    chosen_by.on_join(chosen_by.candidates.add(Candidate(3), 0))
    assert 3 in choices(chosen_by, range(3, 20))
