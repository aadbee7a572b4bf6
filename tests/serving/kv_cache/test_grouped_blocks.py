"""Models with attention windows under vLLM v1: golden steps, hits, and fast-forwarded steps against single ones."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster_sim.engine.instant import NEVER, Kind, instant
from cluster_sim.engine.process import HUB_SOURCE, Message
from cluster_sim.hardware.kv_groups import KvGroups
from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.serving.kv_cache.grouped_hashed_blocks import GroupedHashedCache
from cluster_sim.serving.messages import Cancellation, Dispatch, Response
from cluster_sim.serving.replica import Replica
from cluster_sim.serving.replica_settings import ReplicaSettings
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.data_parallel import build_scheduler
from cluster_sim.serving.schedulers.engine_options import engine_options
from cluster_sim.serving.schedulers.vllm_v1 import VllmV1
from cluster_sim.workload.request import Attributes, Request
from tests.serving.kv_cache.restored import responses_restored
from tests.serving.kv_cache.test_hashed_blocks import Linear, limits
from tests.serving.schedulers.test_vllm_v1 import Bench

SLIDING = KvGroups(full=0, windowed=1, window_tokens=8)
HYBRID = KvGroups(full=1, windowed=1, window_tokens=8)
CHUNKED = KvGroups(full=1, windowed=3, window_tokens=8, is_chunked=True)


def test_blocks_of_a_sliding_window_step_by_step() -> None:
    """A window of 8 in blocks of 4, chunks of 16.  The second chunk begins with 16 tokens computed, of which 9 are out
    of sight: 2 blocks go, 4 come.  Then 32: 25 are, 6 blocks; the last 4 tokens take one.  A decode at 36 sees 29 to
    36: of 9 blocks the first 7 are gone, the tenth comes.  At 39 the next goes.
    """
    bench = Bench(kv_groups=SLIDING)
    bench.add(0, 36, 6)
    assert bench.steps(9) == [
        "- / 0*16 / - / 4",
        "- / 0*16 / - / 6",
        "- / 0*4 / - / 3",
        "0 / - / - / 3",
        "0 / - / - / 3",
        "0 / - / - / 3",
        "0 / - / - / 2",
        "0 / - / - / 3",
        "nothing",
    ]


def test_blocks_of_a_hybrid_step_by_step() -> None:
    """The same with a full group beside it: 4, 8, 9, 10 and 11 blocks more."""
    bench = Bench(kv_groups=HYBRID)
    bench.add(0, 36, 6)
    used = [step.rsplit(" ", maxsplit=1)[-1] for step in bench.steps(9)]
    assert used == ["8", "14", "12", "13", "13", "13", "12", "14", "nothing"]


def test_blocks_of_chunked_attention_step_by_step() -> None:
    """Chunks of 8 tokens in three of four groups: a step that begins on a multiple of 8 needs nothing before it."""
    bench = Bench(kv_groups=CHUNKED, max_num_batched_tokens=12)
    bench.add(0, 22, 5)
    # 12 tokens: 3 blocks each.  From 12 on 2 of them are out of the chunk: 1 + 3 more, 6 in the full group.
    # Decodes at 22, 23: 16 are gone (4 blocks), 6 are there; at 24 six are gone and the seventh comes.
    used = [step.rsplit(" ", maxsplit=1)[-1] for step in bench.steps(7)]
    counts = (3 + 3 * 3, 6 + 3 * 4, 6 + 3 * 2, 6 + 3 * 2, 7 + 3, 7 + 3)
    assert used == [*map(str, counts), "nothing"]


def test_freed_window_lets_the_head_of_the_queue_in() -> None:
    """Of 6 blocks the first prompt of 16 takes 4 and leaves 2; its first decode gives 2 back, so 4 admit the next one
    in that very step, fast-forwarded or not.
    """
    for is_fast in (False, True):
        bench = Bench(kv_groups=SLIDING, kv_blocks=6, is_fast=is_fast)
        bench.add(0, 16, 9)
        assert bench.step() == "- / 0*16 / - / 4"
        bench.add(1, 11, 2)
        assert bench.step().endswith("1*11 / - / 6")


def test_admission_of_a_long_prompt_needs_window_and_budget_only() -> None:
    """With the whole sequence reserved a prompt of 80 tokens is 20 blocks in a full group, but (7 + 16) / 4 + 1 = 7
    blocks in a windowed one: 27 are enough, 26 are not.
    """
    for blocks, first in ((27, "- / 0*16 / - / 8"), (26, "nothing")):
        bench = Bench(kv_groups=HYBRID, kv_blocks=blocks, reserve_full_sequence=True)
        bench.add(0, 80, 2)
        assert bench.step() == first


def hits(groups: KvGroups, requests: list[Request], **changes: object) -> list[int]:
    """Return the cached tokens of requests that are served one after the other."""
    bounds = limits(kv_groups=groups, **changes)
    responses, _ = serve(requests, bounds, is_caching=True)
    return [responses[request.request_id].cached_tokens for request in requests]


def serve(
    requests: list[Request],
    bounds: SchedulerLimits,
    *,
    is_caching: bool,
    cancels: tuple[int, ...] = (),
    **engine: object,
) -> tuple[dict[int, Response], Replica]:
    """Serve requests on one replica with a series of its state; return what became of them, and the replica."""
    scheduler = build_scheduler(
        engine_options(enable_prefix_caching=is_caching, block_size=bounds.block_size, **engine), bounds
    )
    settings = ReplicaSettings(0, bounds, 0, series_interval_ns=30_000, late_cancellation_ns=150_000)
    replica = Replica(settings, scheduler, Linear(), ReplicaLog(30_000))
    for request in requests:
        at = instant(request.arrival_ns, Kind.DELIVERY)
        replica.receive(Message(at, HUB_SOURCE, request.request_id, Dispatch(request, 0)))
        if request.request_id in cancels:
            at = instant(request.arrival_ns + 150_000, Kind.CANCELLATION)
            replica.receive(Message(at, HUB_SOURCE, request.request_id, Cancellation(request.request_id, 0)))
    payloads = [message.payload for message in replica.advance(NEVER)]
    return {response.request_id: response for response in payloads if isinstance(response, Response)}, replica


def prompts(*segments: tuple[tuple[int, int], ...]) -> list[Request]:
    """Return requests with these segments, each long after the one before, that yield one token."""
    return [
        Request(index, index * 10**7, sum(tokens for _, tokens in chain), 1, Attributes(segments=chain))
        for index, chain in enumerate(segments)
    ]


def test_hits_need_the_window_only() -> None:
    """A window of 8 needs the two blocks before the hit.  In a cache of 14 blocks a prompt of 40 tokens leaves all its
    ten; one of 28 others takes four unused ones and the first to have been freed.

    The sequence's own blocks were freed as the window left them: 8 and 9 stay till its end, then go tail first.
    """
    first, other = ((1, 40),), ((2, 28),)
    longer = ((1, 40), (3, 8))
    assert hits(SLIDING, prompts(first, longer)) == [0, 40]
    # Both groups find the shared 24 tokens of a prompt that goes on differently, as the full group has them all.
    assert hits(HYBRID, prompts(first, ((1, 24), (4, 20)))) == [0, 24]
    # In one chunk of 40 nothing has left the window: freed are 9, 8, ... 0.  Seven blocks: four unused, 9, 8 and 7.
    assert hits(SLIDING, prompts(first, other, longer), kv_blocks=14) == [0, 0, 28]


def test_groups_agree_on_the_shorter_hit() -> None:
    """Prompts of 40 tokens in steps of 16.  The windowed group frees its blocks 1, 0 when the step from 16 on begins
    (9 tokens are out of sight) and 5 to 2 when that from 32 on does; 9 to 6 go at the end, before the full group's.

    Of 24 blocks the sequence takes 4 + 4, then 2 x 4 of which none is reused, then 2 x 2: 20, so 4 were never used.  A
    prompt of 12 other tokens takes 6: these and the windowed blocks 1 and 0.  What begins with 8 tokens of the first
    prompt finds them in the full group but not in the windowed one; 16 tokens are found, by the blocks 2 and 3.
    """
    first, other = ((1, 40),), ((2, 12),)
    budget = {"max_num_batched_tokens": 16, "kv_blocks": 24}
    assert hits(HYBRID, prompts(first, ((1, 8), (3, 12))), **budget) == [0, 8]
    assert hits(HYBRID, prompts(first, other, ((1, 8), (3, 12))), **budget) == [0, 0, 0]
    assert hits(HYBRID, prompts(first, other, ((1, 16), (3, 12))), **budget) == [0, 0, 16]
    # Six more blocks: the rest of those freed on the way, 5 to 2, and two of the tail.  16 tokens are lost, and 32 too.
    more = ((4, 24),)
    assert hits(HYBRID, prompts(first, more, ((1, 16), (3, 12))), **budget) == [0, 0, 0]


def test_chunked_groups_see_nothing_before_the_chunk() -> None:
    """At 24 of 28 tokens a chunk of 8 begins: the full group decides, the others need no block for it."""
    assert hits(CHUNKED, prompts(((1, 24),), ((1, 24), (3, 4))), kv_blocks=80) == [0, 24]
    # 20 tokens end inside a chunk, of which the block 16..19 must be there.
    assert hits(CHUNKED, prompts(((1, 24),), ((1, 20), (3, 4))), kv_blocks=80) == [0, 20]


SESSION = st.tuples(st.integers(0, 3), st.integers(1, 30), st.integers(1, 40), st.integers(0, 80_000), st.booleans())
GROUPS = st.builds(
    KvGroups,
    full=st.integers(0, 2),
    windowed=st.integers(1, 2),
    window_tokens=st.sampled_from([4, 8, 20]),
    is_chunked=st.booleans(),
    is_windowed_first=st.booleans(),
) | st.builds(KvGroups, full=st.integers(0, 1), windowed=st.just(1), window_tokens=st.integers(2, 23))


def sessions(turns: list[tuple[int, int, int, int, bool]]) -> list[Request]:
    """Return requests whose prompts are what the session has said so far, until that exceeds 80 tokens."""
    requests: list[Request] = []
    contexts: dict[int, list[tuple[int, int]]] = {}
    now = 0
    for index, (session, prompt, output, gap, _) in enumerate(turns):
        now += gap
        context = [*contexts.get(session, [(session, 5)]), (100 + 2 * index, prompt)]
        if sum(tokens for _, tokens in context) > 80:
            context = [(session, 5), (100 + 2 * index, prompt)]
        total = sum(tokens for _, tokens in context)
        attributes = Attributes(segments=tuple(context), output_segment=101 + 2 * index, priority=index % 3)
        requests.append(Request(index, now, total, output, attributes))
        contexts[session] = [*context, (101 + 2 * index, output)]
    return requests


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    groups=GROUPS,
    turns=st.lists(SESSION, min_size=1, max_size=24),
    blocks=st.integers(0, 30),
    budget=st.integers(9, 48),
    seqs=st.integers(1, 8),
    threshold=st.sampled_from([0, 7]),
    depth=st.sampled_from([1, 2]),
    is_reserving=st.booleans(),
)
@pytest.mark.parametrize("is_caching", [False, True])
@pytest.mark.parametrize("policy", ["fcfs", "priority", "sjf", "lrs"])
def test_fast_forwarding_changes_nothing(
    policy: str,
    is_caching: bool,
    groups: KvGroups,
    turns: list,
    blocks: int,
    budget: int,
    seqs: int,
    threshold: int,
    depth: int,
    is_reserving: bool,
) -> None:
    """Sessions end alike fast-forwarded or not: times, hits, preemptions, the blocks in use at every tick, and
    the order in which all blocks were freed.
    """
    requests = sessions(turns)
    cancels = [index for index, turn in enumerate(turns) if turn[-1] and index % 4 == 3]
    budget = max(budget, seqs)
    least = max(groups.most_blocks(request.prompt_tokens + request.output_tokens, budget, 4) for request in requests)
    results = []
    for can_fast_forward in (True, False):
        bounds = limits(
            kv_blocks=least + blocks,
            max_num_batched_tokens=budget,
            max_num_seqs=seqs,
            can_fast_forward=can_fast_forward,
            batches_in_flight=depth,
            is_async=depth == 2,
            kv_groups=groups,
        )
        responses, replica = serve(
            requests,
            bounds,
            is_caching=is_caching,
            cancels=tuple(cancels),
            policy=policy,
            long_prefill_token_threshold=threshold,
            reserve_full_sequence=is_reserving,
        )
        assert set(responses) >= {request.request_id for request in requests} - set(cancels)
        scheduler = replica._scheduler
        assert (scheduler.kv_used_blocks, scheduler.running_count, scheduler.waiting_count) == (0, 0, 0)
        kv, order = scheduler._kv, []
        if isinstance(kv, GroupedHashedCache):
            kv.validate()
            order = [(block, kv._blocks._key_of[block]) for block in kv._blocks._queue]
        series = {name: column.tolist() for name, column in replica.log.take_series().items()}
        results.append((responses, series, replica.log.preemptions, order))
    assert results[0] == results[1]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    turns=st.lists(SESSION, min_size=1, max_size=24),
    blocks=st.integers(0, 30),
    is_reserving=st.booleans(),
    can_fast_forward=st.booleans(),
)
def test_one_full_group_is_the_cache_without_groups(
    turns: list, blocks: int, is_reserving: bool, can_fast_forward: bool
) -> None:
    """The cache that names every block and the one that keeps runs are the same cache where nothing has a window."""
    requests = sessions(turns)
    least = max(-(-(request.prompt_tokens + request.output_tokens) // 4) for request in requests)
    results = []
    for groups in (None, KvGroups(full=1, windowed=0, window_tokens=8)):
        bounds = limits(kv_blocks=least + blocks, kv_groups=groups, can_fast_forward=can_fast_forward)
        responses, replica = serve(requests, bounds, is_caching=True, reserve_full_sequence=is_reserving)
        series = {name: column.tolist() for name, column in replica.log.take_series().items()}
        results.append((responses, series, replica.log.preemptions))
    assert results[0] == results[1]


def test_steps_are_fast_forwarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """1,000 decodes of a hybrid with a prefix cache are formed in a few runs, not one by one."""
    formed = []
    schedule = VllmV1.schedule
    monkeypatch.setattr(VllmV1, "schedule", lambda self, now_ns: formed.append(now_ns) or schedule(self, now_ns))
    request = Request(0, 0, 40, 1000, Attributes(segments=((1, 40),)))
    responses, replica = serve([request], limits(kv_groups=HYBRID, kv_blocks=600, max_model_len=2000), is_caching=True)
    assert responses[0].finish_ns > 1000 * 10_000
    assert replica.log.iterations == 1000
    assert len(formed) < 10


def test_snapshot_keeps_the_cache() -> None:
    """A scheduler with groups and a prefix cache comes back from bytes with its blocks, and goes on alike."""
    requests = []
    for index in range(40):
        attributes = Attributes(segments=((index % 3, 24), (100 + index, 10 + index % 7)))
        requests.append(Request(index, index * 20_000, 34 + index % 7, 5 + index % 11, attributes))
    bounds = limits(kv_groups=HYBRID, kv_blocks=160)
    results = []
    for cuts in ((), (200_000, 400_000, 700_000)):

        def build() -> Replica:
            scheduler = build_scheduler(engine_options(enable_prefix_caching=True, block_size=4), bounds)
            return Replica(ReplicaSettings(0, bounds, 0), scheduler, Linear(), ReplicaLog(0))

        results.append(responses_restored(build, requests, cuts)[1])
    assert len(results[0]) == 40
    assert results[0] == results[1]
    assert sum(outcome.cached_tokens for outcome in results[0]) > 10 * 24
