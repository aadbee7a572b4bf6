"""Policies that go by weights, keys and loads, by hand."""

from collections import Counter

import pytest
from pydantic import ValidationError

from cluster_sim.config.schema.study import Study
from cluster_sim.engine.observation import NOTHING
from cluster_sim.errors import InputError
from cluster_sim.routing.candidates import Candidate
from cluster_sim.routing.policies.weighted import WeightedOptions
from cluster_sim.routing.policy_parts.hash_ring import HashRing
from cluster_sim.serving.messages import Sample
from tests.engine.small_fleet import SmallFleet
from tests.routing.chooser import MS, Chooser

POOLS = [Candidate(0, "old"), Candidate(1, "old"), Candidate(2, "new", labels={"version": "2"}), Candidate(3, "spare")]


def test_weights_split_traffic_over_pools() -> None:
    """Nine parts to the old pool, shared by its two replicas, one part to the new one, none to a pool not named."""
    chooser = Chooser("weighted", POOLS, weights={"old": 9, "new": 1})
    assert chooser.policy.observation == NOTHING
    counts = Counter(chooser() for _ in range(4000))
    assert counts[3] == 0
    assert abs(counts[2] - 400) < 80
    assert abs(counts[0] - 1800) < 150
    assert abs(counts[1] - 1800) < 150


def test_a_draw_is_the_requests_own() -> None:
    """A request's replica depends on its id and who is eligible, not on the requests before it."""
    one, other = (Chooser("weighted", POOLS, weights={"old": 1, "new": 1}) for _ in range(2))
    expected = [one() for _ in range(50)]
    other.sent = one.sent[:25]
    assert [other() for _ in range(25)] == expected[25:]


def test_weights_by_label() -> None:
    """Values of a label are weighed; replicas without it are the value ""."""
    assert {Chooser("weighted", POOLS, label="version", weights={"2": 1})() for _ in range(5)} == {2}
    chooser = Chooser("weighted", POOLS, label="version", weights={"": 1})
    assert {chooser() for _ in range(50)} == {0, 1, 3}


def test_without_weights_all_are_alike() -> None:
    """Every replica gets its share; if only those without weight are eligible, one of them takes the request."""
    chooser = Chooser("weighted", POOLS)
    assert {chooser() for _ in range(100)} == {0, 1, 2, 3}
    chooser = Chooser("weighted", POOLS, weights={"old": 1})
    assert {chooser(eligible=[2, 3]) for _ in range(30)} == {2, 3}
    assert {chooser(eligible=[1, 2, 3]) for _ in range(30)} == {1}


def test_weights_that_sum_to_zero_are_refused() -> None:
    """Over all pools by the options; over the pools of one model when the policy is built."""
    with pytest.raises(ValidationError, match="weights sum to zero"):
        WeightedOptions.model_validate({"weights": {"old": 0, "new": 0}})
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        WeightedOptions.model_validate({"weights": {"old": -1}})
    with pytest.raises(InputError, match=r"router.weights: sum to zero .* pools are new, old, spare; give one"):
        Chooser("weighted", POOLS, weights={"elsewhere": 1})


def test_weights_of_unknown_pools_are_refused() -> None:
    """A study says which pools there are, and the nearest name."""
    study = SmallFleet().study().model_dump() | {"router": {"policy": "weighted", "weights": {"main": 1, "mian": 1}}}
    with pytest.raises(ValidationError, match=r"router\.weights\.mian: the fleet has no pool 'mian'.*main"):
        Study.model_validate(study)


def test_sessions_stay() -> None:
    """A session's first request goes to the fewest in flight, later ones follow it while it is eligible."""
    chooser = Chooser("session_affinity")
    assert [chooser(session_id=7), chooser(session_id=8), chooser(session_id=7), chooser(session_id=7)] == [0, 1, 0, 0]
    assert [chooser(), chooser(session_id=9)] == [2, 1]
    assert chooser(session_id=7, eligible=[1, 2]) == 2  # Two and one in flight: the session moves ...
    assert chooser(session_id=7) == 2  # ... and stays there.


def test_sessions_are_forgotten_after_a_while() -> None:
    """At 10 s after its last request a session is as new."""
    chooser = Chooser("session_affinity", session_ttl_s=10)
    assert [chooser(session_id=1), chooser(session_id=2, at_s=5), chooser(session_id=1, at_s=9.9)] == [0, 1, 0]
    assert chooser(session_id=1, at_s=19.9) == 2


def test_a_ring_moves_few_keys_when_it_grows() -> None:
    """Of 1,000 keys those that move go to the new candidate, about a quarter of them."""
    ring = HashRing(100)
    for position in range(3):
        ring.add(position, f"replica {position}")
    before = [next(ring.walk(f"key {number}")) for number in range(1000)]
    ring.add(3, "replica 3")
    after = [next(ring.walk(f"key {number}")) for number in range(1000)]
    moved = [new for old, new in zip(before, after, strict=True) if old != new]
    assert set(moved) == {3}
    assert 150 < len(moved) < 350
    assert min(Counter(before).values()) > 200
    assert sorted(ring.walk("key 1")) == [0, 1, 2, 3]


def test_bounded_loads_pass_on_what_is_above_the_share() -> None:
    """One session at three replicas: at most ceil(1.25 (total + 1) / 3) each, then the next on the ring."""
    chooser = Chooser("consistent_hash")
    first, second, third = ring = list(chooser.policy._ring.walk("session 5"))  # type: ignore[attr-defined]
    # The bounds are 1, 1, 2, 2, 3, 3, 3, 4 as the total goes from 0 to 7.
    assert [chooser(session_id=5) for _ in range(8)] == [first, second, first, second, first, second, third, first]
    for number in range(8):
        chooser.end(number)
    assert chooser(session_id=5) == first
    assert chooser(session_id=5, eligible=sorted([second, third])) == second
    assert ring == list(chooser.policy._ring.walk("session 5"))  # type: ignore[attr-defined]


def test_prefix_keys_keep_prompts_that_begin_alike_together() -> None:
    """Prompts with the same first 100 tokens have one key; so have tenants."""
    chooser = Chooser("consistent_hash", 8, key="prefix", prefix_tokens=100, load_factor=1e6)
    assert len({chooser([(1, 100), (number, 50)]) for number in range(10, 30)}) == 1
    assert len({chooser([(number, 100)]) for number in range(10, 40)}) > 3
    tenants = Chooser("consistent_hash", 8, key="tenant", load_factor=1e6)
    assert len({tenants(tenant="a") for _ in range(20)}) == 1
    assert len({tenants() for _ in range(60)}) > 3


def test_least_tokens_tells_long_prompts_from_short_ones() -> None:
    """Prompt tokens and predicted output tokens count; an end takes them away."""
    chooser = Chooser("least_tokens", 2)
    assert [chooser(100), chooser(30), chooser(60), chooser(20)] == [0, 1, 1, 1]  # 100, and 30 + 60 + 20.
    assert chooser(5, length_hint_tokens=40) == 0  # 145 and 110.
    assert chooser(50) == 1
    chooser.end(0)
    assert chooser(1) == 0  # 45 and 160.
    chooser = Chooser("least_tokens", 2, output_tokens=500)
    assert [chooser(10), chooser(10, length_hint_tokens=0), chooser(10)] == [0, 1, 1]


def test_power_of_two_compares_a_drawn_pair() -> None:
    """Of two candidates the emptier always wins; of many the pair is drawn by the request."""
    chooser = Chooser("power_of_two", 2)
    counts = Counter(chooser() for _ in range(100))
    assert counts == {0: 50, 1: 50}
    chooser = Chooser("power_of_two", 10)
    loads = Counter(chooser() for _ in range(1000))
    assert max(loads.values()) - min(loads.values()) < 10  # A uniform draw: about 40.
    assert chooser(eligible=[4]) == 4


def test_least_kv_adds_the_blocks_of_its_own_prompts() -> None:
    """Sampled usage, and prompts since: 160 tokens are 10 of 100 blocks, a tenth."""
    members = [Candidate(number, kv_blocks=100, block_size=16) for number in range(2)]
    chooser = Chooser("least_kv", members, telemetry={"period_ms": 10, "latency_ms": 1})
    chooser.policy.observe(0, Sample(0, 9, 9, 0.50))
    chooser.policy.observe(1, Sample(1, 0, 0, 0.65))
    assert [chooser(160), chooser(159), chooser(160), chooser(1)] == [0, 0, 1, 0]  # At last 0.70 and 0.75.
    chooser.policy.observe(0, Sample(0, 9, 9, 0.6))
    assert chooser(1, at_s=0.012) == 0  # The sample of 10 ms holds what was sent at 0 ms: 0.60 and 0.65.


def test_least_kv_counts_a_prompt_larger_than_a_cache_once() -> None:
    """Where the cache is unknown a prompt fills it."""
    chooser = Chooser("least_kv", 2, telemetry={"period_ms": 10, "latency_ms": 1})
    assert [chooser(160), chooser(1), chooser(1)] == [0, 1, 0]


def test_ray_serves_pairs_pass_over_full_queues() -> None:
    """A replica with two ongoing requests accepts none while another pair has one that does; then the shortest."""
    chooser = Chooser("ray_serve_power_of_two", 3, max_ongoing_requests=2)
    assert Counter(chooser() for _ in range(6)) == {0: 2, 1: 2, 2: 2}
    assert chooser() == 0
    chooser.end(next(number for number, (_, position) in enumerate(chooser.sent) if position == 2))
    assert chooser() == 2


def test_priorities_pass_what_is_less_urgent() -> None:
    """An urgent request counts the urgent ones first, a request that can wait counts all."""
    chooser = Chooser("priority_aware", 2)
    assert [chooser(priority=0), chooser(priority=5), chooser(priority=5), chooser(priority=5)] == [0, 1, 0, 1]
    # Replica 0: 0 and 5; replica 1: 5 and 5.
    assert chooser(priority=0) == 1
    assert chooser(priority=3) == 0  # One at least as urgent each, of two and three in all.
    chooser.end(0)
    assert chooser(priority=0) == 0


def test_a_share_is_kept_for_urgent_requests() -> None:
    """Half of four replicas, rounded down, takes only priority 0 and below."""
    chooser = Chooser("priority_aware", 4, reserved_ratio=0.5)
    assert {chooser(priority=1) for _ in range(8)} == {0, 1}
    assert [chooser(priority=0) for _ in range(4)] == [2, 3, 0, 1]  # None as urgent anywhere: first the idle ones.
    assert chooser(priority=1, eligible=[3]) == 3


def test_the_cheapest_is_filled_first() -> None:
    """Two slots at 1 USD, then two at 2 USD, each to 100 %; then the least relative load."""
    members = [Candidate(0, max_num_seqs=4, usd_per_hour=8.0), Candidate(1, max_num_seqs=2, usd_per_hour=2.0)]
    chooser = Chooser("cost_aware", members, fill_ratio=1.0)
    assert [chooser() for _ in range(6)] == [1, 1, 0, 0, 0, 0]
    assert [chooser() for _ in range(3)] == [0, 1, 0]  # 4/4 and 2/2, 5/4 and 2/2, 5/4 and 3/2.
    chooser.end(1)
    chooser.end(0)
    assert chooser() == 1


def test_distance_has_a_price() -> None:
    """A millisecond away costs 3 USD an hour here, which makes the cheaper site the dearer one."""
    members = [Candidate(0, site="near", max_num_seqs=4, usd_per_hour=4.0)]
    members += [Candidate(1, site="far", max_num_seqs=4, usd_per_hour=2.0)]
    assert Chooser("cost_aware", members)() == 1
    assert Chooser("cost_aware", members, usd_per_hour_per_ms=3.0)() == 0


def test_objectives_decide_by_predictions() -> None:
    """TTFT from the prompts that are not computed yet, TPOT from the requests in flight."""
    options = {"prefill_tokens_per_s": 1000, "ttft_s": 1.0, "tpot_s": 0.1, "step_ms": 10, "step_ms_per_request": 0}
    chooser = Chooser("slo_aware", 2, **options)
    assert [chooser(600), chooser(300), chooser(300)] == [0, 1, 1]  # 0.9 and 0.6 s: the most headroom.
    assert chooser(100) == 0  # 0.7 s each, and the first of both.
    chooser.first_token(1)
    assert chooser(500) == 1  # 1.2 s misses, 0.8 s meets.
    packs = Chooser("slo_aware", 2, strategy="least", **options)
    assert [packs(600), packs(300), packs(300), packs(10)] == [0, 0, 1, 0]  # 0.9 s meets, 1.2 s does not; 0.91 s.


def test_a_class_has_objectives_of_its_own() -> None:
    """For the batch class the long queue meets the objective, and TPOT decides."""
    chooser = Chooser(
        "slo_aware",
        [Candidate(0, "fast"), Candidate(1, "slow")],
        pool_prefill_tokens_per_s={"fast": 1000, "slow": 100},
        ttft_s=0.5,
        class_ttft_s={"batch": 60},
        ttft_weight=0,
        step_ms_per_request=10,
    )
    assert [chooser(100), chooser(100), chooser(100)] == [0, 0, 0]  # On the slow one 1 s.
    assert chooser(100, slo_class="batch") == 1


@pytest.mark.parametrize(
    "name",
    ["weighted", "session_affinity", "consistent_hash", "least_tokens", "power_of_two", "least_kv", "cost_aware"],
)
def test_links_need_not_be_equal(name: str) -> None:
    """Candidates at another site are chosen, too."""
    members = [Candidate(0, site="near"), Candidate(1, site="far")]
    chooser = Chooser(name, members)
    assert {chooser(at_s=number * MS / 1e9) for number in range(30)} == {0, 1}
