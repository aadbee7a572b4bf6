"""Scorers by hand: one small table a rule."""

import numpy as np
import pytest

from cluster_sim.routing.candidates import Candidate
from cluster_sim.routing.endpoint_picker.latency_predictions import Headrooms
from cluster_sim.routing.endpoint_picker.scorers.latency import headroom_scores
from cluster_sim.serving.kv_cache.content import content_of
from cluster_sim.serving.kv_cache.prefix_ranges import BlockRange, prefix_ranges
from cluster_sim.workload.request import Request
from tests.routing.endpoint_picker.picking import config, decode, prompt, request, scheduler, scores


def _ranges(asked: Request) -> list[BlockRange]:
    return prefix_ranges(content_of(asked), asked.prompt_tokens, 16)


LABEL = "llm-d.ai/context-length-range"


def test_queue_scorer() -> None:
    """Waiting 2, 6, 4: (6 - waiting) / 4; all 1 where they are equal, and only the candidates count."""
    built = scheduler(config("queue-scorer"))
    built.endpoints.waiting[:] = [2, 6, 4]
    assert scores(built, "queue-scorer", request()) == [1.0, 0.0, 0.5]
    assert scores(built, "queue-scorer", request(), [0, 2]) == [1.0, 0.0]
    assert scores(built, "queue-scorer", request(), [1]) == [1.0]


def test_running_requests_scorer() -> None:
    """Running 0, 10, 5: the same scale."""
    built = scheduler(config("running-requests-size-scorer"))
    built.endpoints.running[:] = [0, 10, 5]
    assert scores(built, "running-requests-size-scorer", request()) == [1.0, 0.0, 0.5]


def test_kv_cache_utilization_scorer() -> None:
    """The share that is free."""
    built = scheduler(config("kv-cache-utilization-scorer"))
    built.endpoints.kv_used[:] = [0.0, 0.25, 1.0]
    assert scores(built, "kv-cache-utilization-scorer", request()) == [1.0, 0.75, 0.0]


def test_load_aware_scorer() -> None:
    """Half for nobody waiting, a quarter at half the threshold, nothing from it on."""
    built = scheduler(config("load-aware-scorer"), 4)
    built.endpoints.waiting[:] = [0, 64, 128, 500]
    assert scores(built, "load-aware-scorer", request()) == [0.5, 0.25, 0.0, 0.0]


def test_prefix_cache_scorer() -> None:
    """70 tokens are five blocks: what was sent to endpoint 1 matches all five, of another end the first four."""
    built = scheduler(config("prefix-cache-scorer"))
    assert scores(built, "prefix-cache-scorer", prompt((1, 64), (2, 6))) == [0.0, 0.0, 0.0]
    assert decode(built, prompt((1, 64), (2, 6)), [1]) == 1
    assert scores(built, "prefix-cache-scorer", prompt((1, 64), (2, 6))) == [0.0, 1.0, 0.0]
    assert scores(built, "prefix-cache-scorer", prompt((1, 64), (3, 6))) == [0.0, 0.8, 0.0]
    assert scores(built, "prefix-cache-scorer", prompt((9, 64), (2, 6))) == [0.0, 0.0, 0.0]


def test_prefix_cache_scorer_matches_the_first_blocks_only() -> None:
    """With two blocks to match, half of a prompt of four is the most."""
    built = scheduler(config({"type": "prefix-cache-scorer", "parameters": {"maxPrefixBlocksToMatch": 2}}))
    decode(built, prompt((1, 64)), [2])
    assert scores(built, "prefix-cache-scorer", prompt((1, 64))) == [0.0, 0.0, 0.5]


def test_prefix_cache_scorer_forgets_what_was_used_longest_ago() -> None:
    """With room for four blocks a second prompt of four displaces the first."""
    built = scheduler(config({"type": "prefix-cache-scorer", "parameters": {"lruCapacityPerServer": 4}}), 1)
    decode(built, prompt((1, 64)))
    decode(built, prompt((2, 64)))
    assert scores(built, "prefix-cache-scorer", prompt((1, 64))) == [0.0]
    assert scores(built, "prefix-cache-scorer", prompt((2, 64))) == [1.0]


@pytest.mark.parametrize(
    ("parameters", "tokens", "capacity"),
    [
        ({}, 32, 500),
        ({"blockSizeTokens": 64, "lruCapacityPerServer": 10}, 64, 10),
        ({"blockSize": 64}, 32, 500),
        ({"blockSize": 64, "autoTune": False}, 16, 31_250),
        ({"hashBlockSize": 5, "autoTune": False, "lruCapacityPerServer": 7}, 1, 7),
        ({"blockSizeTokens": 64, "lruCapacityPerServer": 10, "autoTune": True}, 32, 500),
    ],
)
def test_prefix_cache_scorer_takes_sizes_from_the_engine(
    parameters: dict[str, object], tokens: int, capacity: int
) -> None:
    """Blocks and capacity are the engine's, but for what the file says; characters count without autoTune only."""
    members = [Candidate(0, kv_blocks=500, block_size=32)]
    built = scheduler(config({"type": "prefix-cache-scorer", "parameters": parameters}), members)
    part = built.parts.find("prefix-cache-scorer")
    assert part is not None
    assert part.block_size == tokens  # type: ignore[attr-defined]
    assert part._options.capacity_of(members[0]) == capacity  # type: ignore[attr-defined]


def test_precise_prefix_cache_scorer() -> None:
    """Blocks that events show count over the most of any candidate; 0 where nobody holds any."""
    built = scheduler(config("precise-prefix-cache-scorer"))
    part = built.parts.find("precise-prefix-cache-scorer")
    assert part is not None
    asked = prompt((1, 64), (2, 64))
    assert scores(built, "precise-prefix-cache-scorer", asked) == [0.0, 0.0, 0.0]
    names = [each.name for each in _ranges(asked)]
    part.on_kv_events(0, [(names[0], 2)])
    part.on_kv_events(2, [(names[0], 4), (names[1], 8)])
    assert scores(built, "precise-prefix-cache-scorer", asked) == [0.25, 0.0, 1.0]
    assert scores(built, "precise-prefix-cache-scorer", asked, [0, 1]) == [1.0, 0.0]
    part.on_kv_events(2, [(names[0], -1)])
    assert scores(built, "precise-prefix-cache-scorer", asked) == [1.0, 0.0, 0.0]


def test_precise_prefix_cache_scorer_trusts_its_choice_until_events_arrive() -> None:
    """An own choice counts at once and for two seconds; an event that shows it takes over."""
    built = scheduler(config("precise-prefix-cache-scorer"))
    asked, name, s = prompt((1, 64)), "precise-prefix-cache-scorer", 1_000_000_000
    decode(built, asked, [1], now_ns=s)
    assert scores(built, name, asked, now_ns=2 * s) == [0.0, 1.0, 0.0]
    assert scores(built, name, asked, now_ns=3 * s) == [0.0, 0.0, 0.0]
    decode(built, asked, [1], now_ns=4 * s)
    part = built.parts.find(name)
    assert part is not None
    part.on_kv_events(1, [(_ranges(asked)[0].name, 4)])
    assert scores(built, name, asked, now_ns=60 * s) == [0.0, 1.0, 0.0]
    part.on_kv_events(1, [(_ranges(asked)[0].name, -1)])
    assert scores(built, name, asked, now_ns=4 * s) == [0.0, 0.0, 0.0]


def test_no_hit_lru_scorer() -> None:
    """Cold requests: unused endpoints first in order, then the one of longest ago; warm ones 0.5 everywhere."""
    built = scheduler(config("prefix-cache-scorer", "no-hit-lru-scorer"))
    assert scores(built, "no-hit-lru-scorer", prompt((1, 64))) == [1.0, 0.5, 0.0]
    decode(built, prompt((1, 64)), [1])
    assert scores(built, "no-hit-lru-scorer", prompt((2, 64))) == [1.0, 0.0, 0.5]
    decode(built, prompt((2, 64)), [0])
    decode(built, prompt((3, 64)), [2])
    assert scores(built, "no-hit-lru-scorer", prompt((4, 64))) == [0.5, 1.0, 0.0]
    assert scores(built, "no-hit-lru-scorer", prompt((4, 64)), [2]) == [1.0]
    assert scores(built, "no-hit-lru-scorer", prompt((1, 64), (9, 9))) == [0.5, 0.5, 0.5]
    decode(built, prompt((1, 64), (9, 9)), [1])  # Warm: the order stays.
    assert scores(built, "no-hit-lru-scorer", prompt((4, 64))) == [0.5, 1.0, 0.0]


def test_no_hit_lru_scorer_remembers_so_many() -> None:
    """Of an LRU of one the older is forgotten, and counts as never used."""
    built = scheduler(config({"type": "no-hit-lru-scorer", "parameters": {"lruSize": 1}}))
    decode(built, request(0), [0])
    decode(built, request(1), [1])
    assert scores(built, "no-hit-lru-scorer", request(2)) == [1.0, 0.0, 0.5]


def test_active_request_scorer() -> None:
    """In flight 0, 1, 4: 1 when idle, else (4 - n) / 4; with a threshold of 1 and a busy score of 0.5: 1, 1, 0."""
    built = scheduler(config("active-request-scorer"))
    for number, position in enumerate([1, 2, 2, 2, 2]):
        decode(built, request(number), [position])
    assert scores(built, "active-request-scorer", request()) == [1.0, 0.75, 0.0]
    built.on_end(2, request(1))
    built.on_end(2, request(2))
    assert scores(built, "active-request-scorer", request()) == [1.0, 0.5, 0.0]
    parameters = {"idleThreshold": 1, "maxBusyScore": 0.5}
    built = scheduler(config({"type": "active-request-scorer", "parameters": parameters}))
    for number, position in enumerate([0, 0, 1, 2, 2, 2, 2]):
        decode(built, request(number), [position])
    assert scores(built, "active-request-scorer", request()) == [0.25, 1.0, 0.0]


def test_token_load_scorer() -> None:
    """Of a threshold of 200 tokens, 64 and 128 are in flight; a prompt that is cached adds its last tokens only."""
    parameters = {"queueThresholdTokens": 200}
    built = scheduler(config("prefix-cache-scorer", {"type": "token-load-scorer", "parameters": parameters}))
    decode(built, prompt((1, 64), number=0), [0])
    decode(built, prompt((2, 64), number=1), [1])
    decode(built, prompt((2, 64), (3, 64), number=2), [1])
    assert scores(built, "token-load-scorer", request(9)) == [0.68, 0.36, 1.0]
    built.on_end(1, prompt((2, 64), number=1))
    assert scores(built, "token-load-scorer", request(9)) == [0.68, 0.68, 1.0]
    own = scheduler(config({"type": "token-load-scorer", "parameters": {**parameters, "addsRequest": True}}), 1)
    assert scores(own, "token-load-scorer", request(9, 100)) == [0.5]


def test_session_affinity_scorer() -> None:
    """1 where the session's last request went."""
    built = scheduler(config("session-affinity-scorer"))
    assert scores(built, "session-affinity-scorer", request(0, session_id=5)) == [0.0, 0.0, 0.0]
    decode(built, request(0, session_id=5), [2])
    decode(built, request(1, session_id=6), [0])
    decode(built, request(2), [1])
    assert scores(built, "session-affinity-scorer", request(3, session_id=5)) == [0.0, 0.0, 1.0]
    assert scores(built, "session-affinity-scorer", request(4)) == [0.0, 0.0, 0.0]


def test_lora_affinity_scorer() -> None:
    """Active 1, room 0.8, waiting 0.6, neither 0."""
    members = [Candidate(number, lora_slots=2) for number in range(4)]
    built = scheduler(config("lora-affinity-scorer"), members)
    for position, (active, waiting) in enumerate(
        [(("x", "y"), ("z",)), (("y",), ()), (("y", "z"), ("x",)), (("y", "z"), ())]
    ):
        built.endpoints.set_adapters(position, active, waiting)
    assert scores(built, "lora-affinity-scorer", request(lora="x")) == [1.0, 0.8, 0.6, 0.0]
    built.endpoints.set_adapters(0, ("y",), ())
    built.endpoints.set_adapters(3, ("x",), ("y",))
    assert scores(built, "lora-affinity-scorer", request(lora="x")) == [0.8, 0.8, 0.6, 1.0]


def test_context_length_scorer() -> None:
    """6,000 tokens: in 0-10000 0.3 + 0.7 (0.35 + 0.12); a range of one length 1; 2,000 beyond 0.1; no label 0.5."""
    labels = [{LABEL: "0-10000"}, {LABEL: "6000-6000"}, {LABEL: "0-4000"}, {}, {LABEL: "long"}, {LABEL: "9-1"}]
    members = [Candidate(number, labels=each) for number, each in enumerate(labels)]
    built = scheduler(config("context-length-aware"), members)
    asked = request(tokens=6000)
    assert scores(built, "context-length-aware", asked) == [0.629, 1.0, 0.1, 0.5, 0.0, 0.0]
    assert scores(built, "context-length-aware", request(tokens=10_000), [0]) == [0.545]


def test_latency_scorer_by_headroom() -> None:
    """Headrooms of 100, 300 and 500 ms in TTFT and 10, 30, 10 in TPOT, weights 0.8 and 0.2; endpoint 3 misses."""
    headrooms = Headrooms(np.array([100.0, 300.0, 500.0, -1.0]), np.array([10.0, 30.0, 10.0, 90.0]))
    least = headroom_scores(headrooms, (0.8, 0.2), prefers_most=False)
    assert least.round(6).tolist() == [1.0, 0.4, 0.2, 0.0]
    most = headroom_scores(headrooms, (0.8, 0.2), prefers_most=True)
    assert most.round(6).tolist() == [0.0, 0.6, 0.8, 0.0]


def test_latency_scorer_without_range_or_headroom() -> None:
    """A dimension without range has no weight; with nobody in time the smallest deficit wins either way."""
    same = Headrooms(np.array([5.0, 5.0, 5.0]), np.array([10.0, 30.0, 20.0]))
    assert headroom_scores(same, (0.8, 0.2), prefers_most=False).tolist() == [1.0, 0.0, 0.5]
    equal = Headrooms(np.full(2, 5.0), np.full(2, 7.0))
    assert headroom_scores(equal, (0.8, 0.2), prefers_most=False).tolist() == [1.0, 1.0]
    missed = Headrooms(np.array([-10.0, -30.0, -20.0]), np.full(3, 9.0))
    for prefers_most in (False, True):
        assert headroom_scores(missed, (0.8, 0.2), prefers_most=prefers_most).tolist() == [1.0, 0.0, 0.5]


def test_latency_scorer_without_predictions() -> None:
    """KV, queue and prefix count alike: (0.8 + 1 + 0) / 3 and (0.4 + 0 + 1) / 3."""
    built = scheduler(config("prefix-cache-scorer", "latency-scorer"), 2)
    built.endpoints.kv_used[:] = [0.2, 0.6]
    built.endpoints.waiting[:] = [1, 3]
    decode(built, prompt((1, 64)), [1])
    assert scores(built, "latency-scorer", prompt((1, 64))) == [0.6, 0.466667]
