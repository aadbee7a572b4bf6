"""The shared KV store: what it holds when, what a load costs, and equality of results wherever replicas run."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest

from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.recording.rows import RequestRow
from cluster_sim.recording.statuses import FINISHED
from cluster_sim.routing.admission import StaticLimits
from cluster_sim.routing.dispatching import Dispatcher
from cluster_sim.routing.kv_store.options import KvStoreOptions
from cluster_sim.routing.kv_store.store import KvStore
from cluster_sim.routing.request_states import Attempt, TrackedRequest
from cluster_sim.routing.routes import Target
from cluster_sim.serving.kv_cache.store_link import KvLayout
from cluster_sim.simulation.inline import InlineExecutor
from cluster_sim.simulation.plan import make_plan
from cluster_sim.workload.request import Attributes, Request
from tests.engine.in_memory import InMemoryExecutor, RestoringExecutor
from tests.engine.small_fleet import MS, Listed, SmallFleet, draw_fleet, draw_placement, simulation_of, single_stepped
from tests.evidence import Evidence, evidence_of

LAYOUT = KvLayout("m", 1, 1, 1 << 20)
"""A token takes a MiB, so that a chunk of 16 tokens takes 16 MiB and 64 chunks a GiB."""
LARGER = KvLayout("m", 2, 1, 1 << 20)


@dataclass(frozen=True)
class StoreFleet(SmallFleet):
    """A small fleet with a shared store."""

    store: dict[str, Any] = field(default_factory=dict)

    def study(self) -> Study:
        """Return the study with the store."""
        study = super().study()
        options = KvStoreOptions.model_validate({"chunk_tokens": 16} | self.store)
        return study.model_copy(update={"fleet": study.fleet.model_copy(update={"kv_store": options})})


def prompt(number: int, at_ms: float, *segments: tuple[int, int], output: int = 2) -> Request:
    tokens = sum(length for _, length in segments)
    attributes = Attributes(segments=segments, output_segment=1000 + number)
    return Request(number, round(at_ms * MS), tokens, output, attributes)


class Bench:
    """A store by itself, with pools of two layouts."""

    def __init__(self, **options: Any) -> None:
        chosen = KvStoreOptions.model_validate({"chunk_tokens": 16, "put_ms": 1.0} | options)
        self.store = KvStore(chosen, {"a": LAYOUT, "b": LAYOUT, "c": LARGER})
        self.services = type("Services", (), {"dispatcher": Dispatcher()})()
        self.store.start(self.services)

    def held(self, request: Request, pool: str, at_ms: float) -> int:
        stored = self.services.dispatcher.stored
        tokens: int = stored(TrackedRequest(request), target(pool), round(at_ms * MS))
        return tokens

    def first_token(self, request: Request, pool: str, at_ms: float) -> None:
        self.store.on_first_token(TrackedRequest(request), attempt(pool), round(at_ms * MS))

    def end(self, request: Request, pool: str, at_ms: float, status: str = FINISHED) -> None:
        tracked = TrackedRequest(request)
        tracked.last, tracked.end = attempt(pool), RequestRow(request, status)
        assert self.store.on_end(tracked, round(at_ms * MS)) == []


def target(pool: str) -> Target:
    return Target(1, pool, 0, StaticLimits(4096, 100, 16))


def attempt(pool: str) -> Attempt:
    return Attempt(0, None, 0, target(pool), 0, None, "")  # type: ignore[arg-type]


def test_a_prompt_can_be_found_some_time_after_its_first_token() -> None:
    """Whole chunks of it, by every pool of the layout and no other, from 1 ms after the token on."""
    bench = Bench()
    request = prompt(0, 0, (1, 40))
    bench.first_token(request, "a", 5.0)
    assert bench.held(request, "a", 5.999) == 0
    assert [bench.held(request, pool, 6.0) for pool in "abc"] == [32, 32, 0]
    assert bench.held(prompt(1, 0, (1, 40), (2, 40)), "b", 6.0) == 32
    assert bench.held(prompt(1, 0, (1, 20), (2, 40)), "b", 6.0) == 16
    assert bench.held(request, "elsewhere", 6.0) == 0


def test_answers_are_stored_only_if_wanted() -> None:
    """With ``saves_output`` a finished answer, all but its last token, follows its prompt."""
    request = prompt(0, 0, (1, 16), output=17)
    following = prompt(1, 0, (1, 16), (1000, 17))
    for saves_output, expected in ((False, 0), (True, 32)):
        bench = Bench(saves_output=saves_output)
        bench.end(request, "a", 1.0)
        assert bench.held(following, "a", 2.0) == expected
    bench.end(prompt(5, 0, (5, 16), output=9), "a", 3.0, status="cancelled")
    assert bench.held(prompt(6, 0, (5, 16)), "a", 9.0) == 0


def test_a_request_of_one_token_is_stored_at_its_end() -> None:
    """No first token is told of it."""
    bench = Bench()
    bench.end(prompt(0, 0, (1, 16), output=1), "a", 1.0)
    assert bench.held(prompt(1, 0, (1, 16)), "a", 2.0) == 16


def test_the_least_recently_used_chunks_are_evicted() -> None:
    """A store of four chunks: what was found lately stays."""
    bench = Bench(capacity_gib=4 / 64, put_ms=0.0)
    first, second, third = (prompt(number, 0, (number, 32)) for number in (1, 2, 3))
    bench.first_token(first, "a", 1.0)
    bench.first_token(second, "a", 2.0)
    assert bench.held(first, "a", 3.0) == 32
    bench.first_token(third, "a", 4.0)
    assert [bench.held(request, "a", 5.0) for request in (first, second, third)] == [32, 0, 32]


def test_a_link_has_latency_and_bandwidth() -> None:
    """32 tokens of a MiB at 25 GB/s after 0.03 ms; LMCache's link is slower."""
    assert KvStoreOptions(kind="mooncake").link(1 << 20).load_ns(32) == 30_000 + round((32 << 20) / 25)
    assert KvStoreOptions().link(1 << 20).load_ns(32) == 500_000 + round((32 << 20) / 3)
    assert KvStoreOptions(bandwidth_gb_per_s=1.0, latency_ms=0.0).link(1000).load_ns(7) == 7000


def test_a_replica_loads_what_others_have_computed() -> None:
    """Steps take 1 ms, and a token of Llama 3 8B (128 KiB) 10 us to load, after 0.5 ms.

    The first prompt, of 33 tokens, is computed at 1 ms and can be found at 2 ms.  What is sent before that to another
    replica is computed whole; what is sent at 2 ms loads 32 tokens in 0.82 ms and computes one in 1 ms; whoever
    has them itself loads nothing.
    """
    requests = [prompt(number, at_ms, (1, 33)) for number, at_ms in enumerate((0, 1.999, 2, 2))]
    small = StoreFleet(
        replicas=3, store={"put_ms": 1.0, "bandwidth_gb_per_s": 13.1072, "latency_ms": 0.5}, policy="round_robin"
    )
    evidence = run(small, requests)
    assert evidence.column("replica") == [0, 1, 2, 0]
    assert evidence.column("cached_tokens") == [0, 0, 32, 32]
    assert [
        at_ns - request.arrival_ns for at_ns, request in zip(evidence.column("first_token_ns"), requests, strict=True)
    ] == [
        1_000_000,
        1_000_000,
        1_820_000,
        1_000_000,
    ]


def run(small: SmallFleet, requests: Sequence[Request], executor: InlineExecutor | None = None) -> Evidence:
    simulation = replace(simulation_of(small), source=lambda: Listed(requests))
    return evidence_of(executor or InlineExecutor(), simulation)


def test_results_depend_on_neither_placement_nor_steps() -> None:
    """Random studies with a store: rows, counters and series are equal in every way to run them; some have hits."""
    random = Random(11)
    hits = 0
    for number in range(25):
        drawn = draw_fleet(random.randrange)
        engine = drawn.engine | {"enable_prefix_caching": True, "block_size": (1, 8)[number % 2], "max_model_len": 64}
        engine["num_kv_blocks"] = 1 + 64 // engine["block_size"] * 2
        store = {
            "chunk_tokens": (4, 8)[number % 2],
            "put_ms": (0.0, 1.0, 5.0)[number % 3],
            "latency_ms": (0.0, 0.3)[number % 2],
            "bandwidth_gb_per_s": (1.0, 100.0)[number % 2],
            "capacity_gib": (0.01, 1.0)[number % 3 > 0],
            "saves_output": number % 4 == 0,
        }
        policy = ("round_robin", "least_outstanding", "cache_aware", "dynamo_kv", "least_kv")[number % 5]
        small = StoreFleet(
            **{**vars(drawn), "engine": engine, "replicas": 3, "policy": policy, "users": 0}, store=store
        )
        requests = drawn_requests(random)
        expected = run(small, requests)
        hits += sum(expected.column("cached_tokens"))
        assert run(single_stepped(small), requests) == expected
        for placement in (draw_placement(3, random.randrange), [[0], [1], [2]]):
            assert run(small, requests, InMemoryExecutor(placement, random.randrange)) == expected
        assert run(small, requests, RestoringExecutor(random.randrange)) == expected
    assert hits > 100


def drawn_requests(random: Random) -> list[Request]:
    """Return requests whose prompts begin with one of two shared segments."""
    requests = []
    at_ms = 0.0
    for number in range(20):
        at_ms += random.randrange(3)
        segments = ((random.randrange(2), 8 + random.randrange(16)), (100 + number, 1 + random.randrange(8)))
        requests.append(prompt(number, at_ms, *segments, output=1 + random.randrange(8)))
    return requests


@pytest.mark.parametrize(
    ("engine", "key"),
    [
        ({"kind": "sglang"}, "engine.kind"),
        ({"enable_prefix_caching": False}, "engine.enable_prefix_caching"),
        ({"host_blocks": 10, "enable_prefix_caching": True}, "engine.host_blocks"),
    ],
)
def test_engines_that_are_not_modelled_with_a_store_are_refused(engine: dict[str, Any], key: str) -> None:
    """The message begins with the key and says what would be right."""
    with pytest.raises(InputError, match=rf"^fleet\.pools\.0\.{key}: .*; (use|set)"):
        make_plan(StoreFleet(engine=engine).study())
