"""Policies that know prefixes, by hand."""

from collections import Counter
from dataclasses import replace
from random import Random

from cluster_sim.engine.observation import NOTHING
from cluster_sim.routing.candidates import Candidate
from cluster_sim.routing.policy_interface import ROUTING_POLICIES
from cluster_sim.routing.policy_parts.active_blocks import ActiveBlocks
from cluster_sim.serving.content_sampler import PREFIXES
from cluster_sim.serving.kv_cache.content import content_of
from cluster_sim.serving.kv_cache.prefix_ranges import BlockRange, prefix_ranges
from cluster_sim.serving.messages import PrefixSample
from cluster_sim.workload.request import Attributes, Request
from tests.engine.in_memory import InMemoryExecutor
from tests.engine.small_fleet import draw_fleet, draw_placement, single_stepped
from tests.routing.chooser import Chooser
from tests.routing.test_policy_contract import run

BLOCKS = [Candidate(number, kv_blocks=1000, block_size=16) for number in range(3)]


def test_sglang_follows_a_match_above_the_threshold() -> None:
    """A match of more than 0.3 of the prompt is followed, others go to the least loaded."""
    chooser = Chooser("cache_aware")
    assert [chooser([(1, 300)]), chooser(50), chooser(50)] == [0, 1, 2]
    assert chooser([(1, 300), (2, 699)]) == 0  # 300 of 999.
    assert chooser([(1, 300), (3, 700)]) == 1  # Exactly 0.3 is not enough; 2, 1 and 1 in flight.
    assert chooser([(1, 300), (3, 700), (4, 10)]) == 1
    assert chooser([(1, 300), (2, 699)], eligible=[1, 2]) == 2  # The longest match cannot, so the least loaded does ...
    assert chooser([(1, 300), (2, 699)], eligible=[1, 2]) == 2  # ... and the prompt was inserted for it.


def test_sglang_balances_uneven_loads() -> None:
    """Above both thresholds the least loaded gets the request whatever matches, and the prompt."""
    chooser = Chooser("cache_aware", 2, balance_abs_threshold=3, balance_rel_threshold=1.5)
    assert [chooser([(1, 100)]) for _ in range(4)] == [0, 0, 0, 0]
    assert chooser([(1, 100)]) == 1  # 4 - 0 > 3 and 4 > 0.
    chooser.end(0)
    assert chooser([(1, 100)]) == 0  # 3 and 1: even; both hold it, the first is taken.
    ratio = Chooser("cache_aware", 2, balance_abs_threshold=0, balance_rel_threshold=2)
    assert [ratio([(1, 100)]), ratio([(2, 100)]), ratio([(1, 100)])] == [0, 1, 0]
    assert ratio([(1, 100)]) == 0  # 2 - 1 > 0, but not 2 > 2 x 1.
    assert ratio([(1, 100)]) == 1  # 3 > 2 x 1.


def test_older_sglang_gives_misses_to_the_smallest_tree() -> None:
    """Tokens in the tree decide, not the load."""
    chooser = Chooser("cache_aware", 2, on_miss="smallest_tree")
    assert [chooser([(1, 300)]), chooser([(2, 20)]), chooser([(3, 20)]), chooser([(4, 20)])] == [0, 1, 1, 1]
    least_loaded = Chooser("cache_aware", 2)
    assert [least_loaded([(number, 300 if number == 1 else 20)]) for number in range(1, 5)] == [0, 1, 0, 1]


def test_sglang_evicts_every_interval() -> None:
    """At 120 s a replica's tree is cut to its limit, the oldest prompts first."""
    chooser = Chooser("cache_aware", 2, max_tree_tokens=150)
    assert [chooser([(1, 100)]), chooser([(2, 100)], at_s=1), chooser([(1, 100), (5, 90)], at_s=2)] == [0, 1, 0]
    assert chooser([(3, 100)], at_s=3) == 1
    assert chooser([(1, 100), (5, 90)], at_s=119) == 0
    for number in range(5):
        chooser.end(number)
    # Replica 0 held 190 tokens and keeps 100, replica 1 held 200 and keeps those of 3 s.
    assert chooser([(5, 1)], at_s=120) == 0
    tree = chooser.policy._tree  # type: ignore[attr-defined]
    assert (tree.held(0), tree.held(1)) == (101, 100)
    assert chooser([(3, 100)], at_s=121) == 1


def test_ray_serve_takes_the_shortest_queue_of_the_longest_matches() -> None:
    """A match of at least a tenth is followed, others go to the smallest trees; of several the shortest queue."""
    chooser = Chooser("ray_serve_prefix_aware")
    assert [chooser([(1, 100)]), chooser([(2, 60)]), chooser([(3, 40)])] == [0, 1, 2]
    assert chooser([(1, 100), (4, 900)]) == 0  # Exactly a tenth.
    assert chooser([(1, 100), (5, 901)]) == 2  # The smallest tree.
    assert chooser([(1, 100)]) == 0  # Replicas 0 and 2 hold it, with two requests each.
    assert chooser([(1, 100)]) == 2
    assert chooser([(1, 100)], eligible=[0, 1]) == 0


def test_ray_serve_draws_two_where_loads_are_uneven() -> None:
    """Beyond the threshold prefixes do not count."""
    chooser = Chooser("ray_serve_prefix_aware", 2, imbalanced_threshold=1)
    assert [chooser([(1, 100)]) for _ in range(4)] == [0, 0, 1, 1]  # 2 - 0 > 1; then both hold it.


def test_ray_serve_cuts_trees_back_if_told_to() -> None:
    """Every 10 s a replica above the threshold is cut to the target."""
    chooser = Chooser(
        "ray_serve_prefix_aware", 1, do_eviction=True, eviction_threshold_tokens=150, eviction_target_tokens=120
    )
    chooser([(1, 100)])
    chooser([(2, 100)], at_s=1)
    assert chooser.policy._tree.held(0) == 200  # type: ignore[attr-defined]
    chooser([(2, 100)], at_s=10)
    assert chooser.policy._tree.held(0) == 100  # type: ignore[attr-defined]


def test_aibrix_takes_the_best_match_that_is_not_too_busy() -> None:
    """Mean + factor x standard deviation bounds the running requests of a match; then the fewest running."""
    chooser = Chooser("aibrix_prefix_cache", block_tokens=10, deviation_factor=1.0)
    assert [chooser(5), chooser(5), chooser(5), chooser([(1, 40)])] == [0, 1, 2, 0]
    # Running 2, 1, 1: 1.33 + 0.47 leaves replica 0 out, and nobody else has a match.
    assert chooser([(1, 20), (2, 20)]) == 1
    # Running 2, 2, 1: 1.67 + 0.47 allows all; four blocks match at replica 0, two at replica 1.
    assert chooser([(1, 40)]) == 0
    # Running 3, 2, 1: 2 + 0.82 leaves replica 0 out.
    assert chooser([(1, 40)]) == 1
    assert chooser(5) == 2
    # Running 3, 3, 2: 2.67 + 0.47 allows all; two blocks match at two replicas.
    assert chooser([(1, 29)]) == 0


def test_aibrix_defaults_of_chart_and_code_differ() -> None:
    """A difference of 9 is uneven by the code (8), not by the chart (16)."""
    for defaults, expected in (("chart", 0), ("code", 1)):
        chooser = Chooser("aibrix_prefix_cache", 2, defaults=defaults, block_tokens=10, deviation_factor=9)
        assert {chooser([(1, 40)], eligible=[0]) for _ in range(9)} == {0}
        assert chooser([(1, 40)]) == expected


def test_aibrix_forgets_blocks_after_twenty_minutes() -> None:
    """What was not used for 1,200 s is not matched."""
    chooser = Chooser("aibrix_prefix_cache", 2, block_tokens=10)
    assert [chooser([(1, 40)]), chooser(5), chooser([(1, 40)], at_s=1199)] == [0, 1, 0]
    chooser = Chooser("aibrix_prefix_cache", 2, block_tokens=10)
    assert [chooser([(1, 40)]), chooser(5), chooser(5), chooser([(1, 40)], at_s=1200)] == [0, 1, 0, 1]


def test_production_stack_keeps_sessions_on_a_ring() -> None:
    """Sessions follow the ring, others go to the lowest request rate of the last minute."""
    chooser = Chooser("production_stack_session", 3)
    assert chooser.policy.observation == NOTHING
    assert len({chooser(session_id=4) for _ in range(5)}) == 1
    home = chooser.sent[0][1]
    others = [position for position in range(3) if position != home]
    assert [chooser(at_s=59) for _ in range(4)] == [others[0], others[1], others[0], others[1]]
    assert chooser(at_s=60) == home  # Its five requests are a minute old.
    assert chooser(session_id=4, eligible=others) in others


def test_production_stack_follows_caches_that_miss_little() -> None:
    """The longest match in chunks of 256 unless it misses more than 2,000 tokens; without any the session or rate."""
    chooser = Chooser("production_stack_kv_aware", BLOCKS)
    assert [chooser([(1, 512)]), chooser([(2, 512)]), chooser([(3, 512)])] == [0, 1, 2]
    assert chooser([(2, 512), (4, 2000)]) == 1
    assert chooser([(2, 512), (5, 2001)]) == 0  # 2,001 tokens are missing: the lowest rate.
    assert chooser([(6, 255)]) == 2
    assert chooser([(6, 255)]) == 0  # Less than a chunk: unknown; all have two, ties go to the first.


def test_production_stack_forgets_what_a_cache_cannot_hold() -> None:
    """A cache of two chunks keeps the two used last."""
    members = [Candidate(number, kv_blocks=32, block_size=16) for number in range(2)]
    chooser = Chooser("production_stack_kv_aware", members)
    assert [chooser([(1, 512)]), chooser([(2, 256)]), chooser([(3, 256)])] == [0, 1, 0]
    assert chooser([(1, 512)]) == 1  # One chunk of replica 0 was lost, and with the first of a prompt all of it.


def test_production_stack_prefix_aware_draws_among_the_longest() -> None:
    """Whole chunks of 32 tokens count; without a match every engine may be drawn."""
    chooser = Chooser("production_stack_prefix_aware", 4)
    home = chooser([(1, 64)])
    assert {chooser([(1, 64), (number, 31)]) for number in range(2, 20)} == {home}
    assert len({chooser([(number, 64)]) for number in range(100, 140)}) == 4


def test_active_blocks_are_counted_once() -> None:
    """Shared ranges count as the longest of them."""
    active = ActiveBlocks(1)
    short, long = [BlockRange(7, 0, 4)], [BlockRange(7, 0, 6), BlockRange(8, 6, 9)]
    active.add(0, 1, long)
    assert (active.blocks, active.more(0, short), active.more(0, [BlockRange(7, 0, 8)])) == ([9], 0, 2)
    active.add(0, 2, short)
    active.remove(0, 1)
    assert (active.blocks, active.more(0, long)) == ([4], 5)
    active.remove(0, 2)
    assert active.blocks == [0]


def test_dynamo_adds_prefill_to_compute_and_blocks_to_hold() -> None:
    """Costs of 160-token prompts (10 blocks of 16), worked out by hand."""
    chooser = Chooser("dynamo_kv", BLOCKS[:2])
    assert chooser([(1, 160)]) == 0
    # Replica 0: pending 10 + 0 to compute, 10 + 0 held = 20; replica 1: 10 + 10 = 20.
    assert chooser([(1, 160)]) == 0
    # Replica 0: pending 10, and 10 new: 20, with 20 held: 40; replica 1: 20.
    assert chooser([(2, 160)]) == 1
    # Another of prompt 1: replica 0 10 + 10 = 20; replica 1: 20 + 20.
    chooser.first_token(0)
    # Replica 0 has nothing pending now: 0 + 10 for prompt 1, 10 + 20 = 30 for a new one; replica 1 20 + 20.
    assert chooser([(3, 160)]) == 0
    # Replica 0: pending 10 + 10, held 20 + 10: 50; replica 1: 40.
    assert chooser([(4, 160)]) == 1
    for number in range(5):
        chooser.end(number)
    assert chooser([(4, 160)]) == 1  # 10 to hold against 20.
    assert chooser.policy._pending.amounts == [0, 0]  # type: ignore[attr-defined]
    assert chooser.policy._active.blocks == [0, 10]  # type: ignore[attr-defined]


def test_dynamo_forgets_caches_after_two_minutes() -> None:
    """At 120 s after its last use a prompt is to be computed anew."""
    for at_s, expected in ((119.0, 1), (120.0, 0)):
        chooser = Chooser("dynamo_kv", BLOCKS[:2])
        assert [chooser([(9, 16)]), chooser([(1, 160)])] == [0, 1]
        chooser.end(0)
        chooser.end(1)
        assert chooser([(1, 160)], at_s=at_s) == expected


def test_dynamo_believes_kv_events() -> None:
    """With KV events a prompt counts as cached when its replica has told so, whatever was sent."""
    chooser = Chooser("dynamo_kv", BLOCKS[:2], kv_events={"period_ms": 5})
    (grid,) = chooser.policy.observation.grids
    assert (grid.name, grid.period_ns, grid.latency_ns) == (PREFIXES, 5_000_000, 1_000_000)
    assert chooser([(1, 160)]) == 0
    chooser.end(0)
    content = content_of(Request(9, 0, 160, 1, Attributes(segments=((1, 160),))))
    ((name, _, end),) = prefix_ranges(content, 160, 16)
    chooser.policy.on_prefixes(1, PrefixSample(1, ((name, end),)))
    assert chooser([(1, 160)]) == 1  # 0 + 10 against 10 + 10.
    chooser.end(1)
    chooser.policy.on_prefixes(1, PrefixSample(1, ((name, -1),)))
    assert chooser([(1, 160)]) == 0


def test_kv_events_change_nothing_with_placement_or_steps() -> None:
    """Random studies with shared prompts behind Dynamo's policy with KV events."""
    random = Random(8)
    options = ROUTING_POLICIES.get("dynamo_kv").options.model_validate({"kv_events": {"period_ms": 2, "latency_ms": 1}})
    for _ in range(6):
        small = replace(draw_fleet(random.randrange), users=0, replicas=3, is_varied=True)
        small.engine["enable_prefix_caching"] = True
        expected = run(small, options)
        assert run(single_stepped(small), options) == expected
        placement = draw_placement(3, random.randrange)
        assert run(small, options, InMemoryExecutor(placement, random.randrange)) == expected


def test_dynamos_weight_and_temperature() -> None:
    """Without the weight only blocks held count; a temperature draws by exp(-cost / range / T)."""
    chooser = Chooser("dynamo_kv", BLOCKS[:2], overlap_score_weight=0)
    assert [chooser([(1, 160)]), chooser([(2, 16)]), chooser([(3, 16)])] == [0, 1, 1]
    warm = Chooser("dynamo_kv", BLOCKS[:2], temperature=1.0)
    counts: Counter[int] = Counter()
    for number in range(2000):
        counts[warm([(1, 160)])] += 1
        warm.end(number)
        warm.policy.on_leave(1)  # So that the costs are always 10 and 20.
    assert warm.sent[0][1] == 0
    assert abs(counts[1] - 538) < 60  # 1 / (1 + e) of them.
