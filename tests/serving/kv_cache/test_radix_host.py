"""SGLang's tier of host memory: when tokens get there, what comes back, and what either costs."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster_sim.engine.instant import NEVER, Kind, instant
from cluster_sim.engine.process import HUB_SOURCE, Message
from cluster_sim.hardware.memory_plan import host_block_us
from cluster_sim.hardware.predictors.kinds.linear import LinearOptions, LinearPredictor
from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.serving.kv_cache.content import SHARED, Content, stream_of
from cluster_sim.serving.kv_cache.radix_host import RadixHost
from cluster_sim.serving.kv_cache.radix_tree import RadixTree
from cluster_sim.serving.messages import Cancellation, Dispatch, Response
from cluster_sim.serving.replica import Replica
from cluster_sim.serving.replica_settings import ReplicaSettings
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.data_parallel import build_scheduler
from cluster_sim.serving.schedulers.engine_options import engine_options
from cluster_sim.serving.schedulers.sglang import Sglang
from cluster_sim.workload.request import Attributes, Request
from tests.hardware.replicas import hardware

PREDICTOR = LinearPredictor(LinearOptions(alpha_us=10.0, beta_us=1.0), hardware())
"""10 us a step and 1 us a token."""
MS = 1_000_000


def replica_of(tokens: int, *, is_fast: bool = True, page: int = 1, stages: int = 1, **engine: object) -> Replica:
    """Return a replica of ``tokens`` tokens with chunks of 64; its host holds twice as many, 1 us to move a page."""
    bounds = SchedulerLimits(
        tokens // page, page, 8, 64, 256, stages, stages, is_async=False, can_fast_forward=is_fast
    )  # fmt: skip
    settings = {"hicache_ratio": 2.0, "host_load_block_us": 1.0, "enable_prefix_caching": True, **engine}
    scheduler = build_scheduler(engine_options(kind="sglang", block_size=page, **settings), bounds)
    settings = ReplicaSettings(0, bounds, 0, late_cancellation_ns=150_000)
    return Replica(settings, scheduler, PREDICTOR, ReplicaLog(0, stages))


def serve(replica: Replica, requests: list[Request]) -> tuple[dict[int, Response], RadixHost]:
    """Serve requests; return the responses and the host's tier, with the books checked."""
    for request in requests:
        at = instant(request.arrival_ns, Kind.DELIVERY)
        replica.receive(Message(at, HUB_SOURCE, request.request_id, Dispatch(request, 0)))
    messages = replica.advance(NEVER)
    return {message.payload.request_id: message.payload for message in messages}, host_of(replica)


def host_of(replica: Replica) -> RadixHost:
    scheduler = replica._scheduler
    assert isinstance(scheduler, Sglang)
    pool = scheduler.memory
    assert pool.host is not None
    assert pool.free_blocks == pool.total_blocks
    pool.validate()
    return pool.host


def three() -> list[Request]:
    """Return a prompt of 40 tokens, one that needs the whole device of 64, and the first one with 8 tokens more."""
    return [
        Request(0, 0, 40, 2, Attributes(segments=((1, 40),))),
        Request(1, 1 * MS, 60, 2),
        Request(2, 2 * MS, 48, 2, Attributes(segments=((1, 40), (9, 8)))),
    ]


def test_lost_prefix_is_loaded_back_while_layers_compute() -> None:
    """The device has lost the 41 tokens of the first; 40 come back in 40 us, of which 22 are beyond the step's 18."""
    responses, host = serve(replica_of(64), three())
    third = responses[2]
    assert (third.cached_tokens, host.loaded_tokens) == (40, 40)
    assert third.first_token_ns - third.scheduled_ns == 1000 * 40
    # 41 and 61 by the first two; the third adds its 8 and one of its answer to the 40 that are there
    assert host.stored_tokens == 41 + 61 + 9


def test_short_load_hides_behind_the_step() -> None:
    """At 0.4 us a token 40 tokens take 16 us, less than the step."""
    responses, _ = serve(replica_of(64, host_load_block_us=0.4), three())
    assert responses[2].first_token_ns - responses[2].scheduled_ns == 18_000


def test_pages_round_down_what_comes_back() -> None:
    """With pages of 16 the host has 32 of the 40 tokens; 16 are computed, and two pages take 2 us."""
    responses, host = serve(replica_of(80, page=16), three())
    assert (responses[2].cached_tokens, host.loaded_tokens) == (32, 32)
    assert responses[2].first_token_ns - responses[2].scheduled_ns == 26_000


@pytest.mark.parametrize(("least", "cached"), [(40, 40), (41, 0)])
def test_little_is_computed_again(least: int, cached: int) -> None:
    """Below the threshold nothing is loaded."""
    responses, host = serve(replica_of(64, hicache_load_back_tokens=least), three())
    assert (responses[2].cached_tokens, host.loaded_tokens) == (cached, cached)


def test_loaded_tokens_take_no_chunk() -> None:
    """Behind 100 loaded tokens 90 are computed in chunks of 64 and 26: 100 us for the load, which hides the first step
    of 74, and 36 us more.
    """
    requests = [
        Request(0, 0, 100, 2, Attributes(segments=((1, 100),))),
        Request(1, 1 * MS, 180, 2),
        Request(2, 2 * MS, 190, 2, Attributes(segments=((1, 100), (9, 90)))),
    ]
    responses, host = serve(replica_of(200), requests)
    assert (responses[2].cached_tokens, host.loaded_tokens) == (100, 100)
    assert responses[2].first_token_ns - responses[2].scheduled_ns == 1000 * (100 + 36)


def test_a_retracted_request_finds_its_prompt_on_the_host() -> None:
    """Two prompts of 20 grow by 10 tokens each until a device of 60 is full; the second starts again.

    By then the first has had the room of the second's prompt, whose 20 tokens come back from the host.
    """
    requests = [Request(0, 0, 20, 36), Request(1, 1000, 20, 12, Attributes(segments=((5, 20),)))]
    responses, host = serve(replica_of(60, schedule_conservativeness=0.01), requests)
    assert responses[1].preemptions == 1
    assert responses[0].preemptions == 0
    assert host.loaded_tokens == 20


def test_only_what_the_device_has_lost_is_loaded() -> None:
    """On a device of 200 tokens nothing is lost and nothing loaded."""
    responses, host = serve(replica_of(200), three())
    assert (responses[2].cached_tokens, host.loaded_tokens) == (40, 0)
    assert responses[2].first_token_ns - responses[2].scheduled_ns == 18_000


def test_loaded_tokens_are_shared_at_once() -> None:
    """Of two requests of one step that want the lost prefix the first loads it and the second finds it."""
    requests = three()
    requests[1] = Request(1, 1 * MS, 180, 2)
    requests.append(Request(3, 2 * MS, 48, 2, Attributes(segments=((1, 40), (8, 8)))))
    responses, host = serve(replica_of(200), requests)
    assert [responses[index].cached_tokens for index in (2, 3)] == [40, 40]
    assert host.loaded_tokens == 40
    assert responses[2].scheduled_ns == responses[3].scheduled_ns


def test_selective_writes_what_is_found_again() -> None:
    """The first request's tokens are not stored before another one has found 40 of them."""
    responses, host = serve(replica_of(64, hicache_write_policy="write_through_selective"), three())
    assert (responses[2].cached_tokens, host.stored_tokens) == (0, 0)
    turns = [three()[0], Request(1, 1 * MS, 48, 2, Attributes(segments=((1, 40), (9, 8))))]
    turns += [Request(2, 2 * MS, 60, 2), Request(3, 3 * MS, 48, 2, Attributes(segments=((1, 40), (7, 8))))]
    responses, host = serve(replica_of(64, hicache_write_policy="write_through_selective"), turns)
    assert [responses[index].cached_tokens for index in range(4)] == [0, 40, 0, 40]
    assert host.stored_tokens == 40


def test_write_back_waits_for_the_copy() -> None:
    """Evicting the 41 tokens of the first delays the second's step by 41 us; the prefix comes back as otherwise."""
    responses, host = serve(replica_of(64, hicache_write_policy="write_back"), three())
    second, third = responses[1], responses[2]
    assert second.first_token_ns - second.scheduled_ns == 1000 * (41 + 10 + 60)
    # The third evicts the second's 61 tokens, 61 us, and 22 of its load of 40 do not hide behind its step of 18.
    assert third.cached_tokens == 40
    assert third.first_token_ns - third.scheduled_ns == 1000 * (61 + 40)
    assert host.stored_tokens == 41 + 61


def content(*pieces: tuple[int, int]) -> Content:
    chain, position = [], 0
    for segment, tokens in pieces:
        chain.append((stream_of(SHARED, segment), position, position + tokens))
        position += tokens
    return Content("", tuple(chain))


def test_least_recently_used_leaves_make_room() -> None:
    """A host of 100 tokens holds 60 and 40; 30 more cost the 60, and a prompt of 150 is cut to its first 100."""
    host = RadixHost(100, 1, "write_through", 1, 1.0)
    first, second, third, long = (content((segment, tokens)) for segment, tokens in enumerate((60, 40, 30, 150)))
    host.on_insert(first, 60)
    host.on_insert(second, 40)
    host.on_insert(third, 30)
    assert [host.tree.peek(content, 150) for content in (first, second, third)] == [0, 40, 30]
    host.on_insert(long, 150)
    assert [host.tree.peek(content, 150) for content in (second, third, long)] == [0, 0, 100]
    assert host.take_waits_ns() == (0, 0)


def test_eviction_names_what_is_lost() -> None:
    """A split node and its parent are named with the whole chain before them, down to their own ends."""
    tree = RadixTree()
    tree.insert(content((1, 20), (2, 10)), 30)
    tree.insert(content((1, 25), (3, 5)), 30)
    lost: list[tuple[Content, int]] = []
    assert tree.evict(100, lost) == 40
    chains = [(content.pieces, end) for content, end in lost]
    one, two = stream_of(SHARED, 1), stream_of(SHARED, 2)
    assert ((((one, 0, 20), (two, 20, 30)), 30)) in chains
    assert ((((one, 0, 20),), 20)) in chains
    assert [end for _, end in chains] == [30, 30, 20]


def test_a_page_takes_what_the_link_to_the_host_allows() -> None:
    """Llama-3-8B keeps 131,072 bytes a token: 16 tokens take 42 us at 50 GB/s, half on each of two GPUs."""
    assert host_block_us(hardware(block_size=16)) == pytest.approx(131_072 * 16 / 50e9 * 1e6)
    assert host_block_us(hardware(tensor_parallel=2, block_size=16)) == pytest.approx(131_072 * 8 / 50e9 * 1e6)
    assert host_block_us(hardware(pipeline_parallel=2, block_size=16)) == pytest.approx(131_072 * 8 / 50e9 * 1e6)


TURN = st.tuples(st.integers(0, 3), st.integers(1, 40), st.integers(1, 20), st.integers(0, 150), st.booleans())


@settings(max_examples=80, deadline=None)
@given(
    turns=st.lists(TURN, max_size=20),
    tokens=st.sampled_from([120, 160, 400]),
    page=st.sampled_from([1, 4]),
    policy=st.sampled_from(["write_through", "write_through_selective", "write_back"]),
    is_mixed=st.booleans(),
    ratio=st.sampled_from([1.1, 3.0]),
)
def test_fast_forwarding_changes_nothing(
    turns: list, tokens: int, page: int, policy: str, is_mixed: bool, ratio: float
) -> None:
    """Random turns of shared prefixes, some given up, end alike fast-forwarded or not, also after a snapshot."""
    results = []
    for is_fast in (True, False):
        replicas = [
            replica_of(
                tokens,
                is_fast=is_fast,
                page=page,
                hicache_write_policy=policy,
                hicache_ratio=ratio,
                enable_mixed_chunk=is_mixed,
            )
            for _ in range(2)
        ]
        replica, at_ns = replicas[0], 0
        messages: list[Message] = []
        for index, (family, prompt, output, gap_us, gives_up) in enumerate(turns):
            at_ns += gap_us * 1000
            messages += replica.advance(instant(at_ns, Kind.GLOBAL_SCHEDULE))
            attributes = Attributes(segments=((family, 8 + 12 * family), (100 + index, prompt)))
            request = Request(index, at_ns, 8 + 12 * family + prompt, output, attributes)
            replica.receive(Message(instant(at_ns, Kind.DELIVERY), HUB_SOURCE, index, Dispatch(request, 0)))
            if gives_up:
                at = instant(at_ns + 150_000, Kind.CANCELLATION)
                replica.receive(Message(at, HUB_SOURCE, index, Cancellation(index, 0)))
            if index == 3:
                replicas[1].restore(replica.snapshot())
                replica = replicas[1]
        messages += replica.advance(NEVER)
        host = host_of(replica)
        log = replica.log
        results.append((messages, host.stored_tokens, host.loaded_tokens, log.iterations, replica.pipeline.busy_ns))
    assert results[0] == results[1]
