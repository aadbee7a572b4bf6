"""The prefix cache inside the vLLM v1 scheduler: golden steps, and the same results however decodes are advanced."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster_sim.engine.instant import NEVER, Kind, instant
from cluster_sim.engine.process import HUB_SOURCE, Message
from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.serving.messages import Dispatch, Response
from cluster_sim.serving.replica import Replica
from cluster_sim.serving.replica_settings import ReplicaSettings
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.base import Scheduler
from cluster_sim.serving.schedulers.data_parallel import build_scheduler
from cluster_sim.serving.schedulers.engine_options import engine_options
from cluster_sim.workload.request import Attributes, Request
from tests.serving.kv_cache.restored import responses_restored
from tests.serving.step_times import Linear


def limits(**changes: object) -> SchedulerLimits:
    """Return small limits: 64 blocks of 4 tokens, 8 sequences, 64 tokens a step."""
    values = {
        "kv_blocks": 64,
        "block_size": 4,
        "max_num_seqs": 8,
        "max_num_batched_tokens": 64,
        "max_model_len": 256,
        "pipeline_parallel": 1,
        "batches_in_flight": 1,
        "is_async": False,
        "can_fast_forward": True,
        **changes,
    }
    return SchedulerLimits(**values)


def test_lookups_of_first_admissions_are_counted() -> None:
    """Two prompts of 40 tokens are asked for, 32 of the second are found; the replica's counters say so."""
    requests = [
        Request(index, index * 10**6, 40, 2, Attributes(segments=((1, 32), (5 + index, 8)))) for index in range(2)
    ]
    bounds = limits()
    scheduler = build_scheduler(engine_options(enable_prefix_caching=True, block_size=4), bounds)
    replica = Replica(ReplicaSettings(0, bounds, 0), scheduler, Linear(), ReplicaLog(0))
    for request in requests:
        at = instant(request.arrival_ns, Kind.DELIVERY)
        replica.receive(Message(at, HUB_SOURCE, request.request_id, Dispatch(request, 0)))
    replica.advance(NEVER)
    assert (replica.log.prefix_queries_tokens, replica.log.prefix_hits_tokens) == (80, 32)


def run(requests: list[Request], bounds: SchedulerLimits, **engine: object) -> tuple[dict[int, Response], Scheduler]:
    """Serve ``requests`` on one replica and return what became of them, and the scheduler at the end."""
    scheduler = build_scheduler(
        engine_options(enable_prefix_caching=True, block_size=bounds.block_size, **engine), bounds
    )
    replica = Replica(ReplicaSettings(0, bounds, 0), scheduler, Linear(), ReplicaLog(0))
    for request in requests:
        at = instant(request.arrival_ns, Kind.DELIVERY)
        replica.receive(Message(at, HUB_SOURCE, request.request_id, Dispatch(request, 0)))
    payloads = [message.payload for message in replica.advance(NEVER)]
    return {response.request_id: response for response in payloads if isinstance(response, Response)}, scheduler


def test_second_turn_hits_prompt_and_answer_of_the_first() -> None:
    """Turn 1 computes 10 + 8 - 1 = 17 tokens, 4 full blocks of 4; turn 2 names them and 6 tokens more."""
    first = Request(0, 0, 10, 8, Attributes(segments=((1, 10),), output_segment=2))
    second = Request(1, 10**9, 24, 4, Attributes(segments=((1, 10), (2, 8), (3, 6)), output_segment=4))
    responses, scheduler = run([first, second], limits())
    assert [responses[0].cached_tokens, responses[1].cached_tokens] == [0, 16]
    assert responses[1].first_token_ns - responses[1].scheduled_ns == 10_000 + 8 * 1000
    assert scheduler.kv_used_blocks == 0


def test_requests_of_one_step_share_a_prefix() -> None:
    """Blocks have their hashes once scheduled: the second request of the same step hits 32 of its 40 tokens."""
    requests = [Request(index, 0, 40, 2, Attributes(segments=((1, 32), (5 + index, 8)))) for index in range(2)]
    responses, _ = run(requests, limits())
    assert [responses[0].cached_tokens, responses[1].cached_tokens] == [0, 32]
    assert responses[0].scheduled_ns == responses[1].scheduled_ns == 0


def test_later_turn_that_comes_early_hits_what_is_generated_so_far() -> None:
    """A turn that arrives while the answer it names is being written hits the blocks written by then."""
    first = Request(0, 0, 8, 40, Attributes(segments=((1, 8),), output_segment=2))
    second = Request(1, 18_000 + 12 * 10_102, 60, 4, Attributes(segments=((1, 8), (2, 40), (3, 12))))
    hits = []
    for can_fast_forward in (True, False):
        responses, _ = run([first, second], limits(can_fast_forward=can_fast_forward))
        hits.append(responses[1].cached_tokens)
    # The prompt's step takes 18 us, a decode 10.1 us and a little: 12 decodes have run or are formed by then.
    assert hits == [20, 20]


def test_preempted_sequence_finds_its_own_blocks() -> None:
    """Two sequences outgrow 12 blocks when both have 24 tokens computed and know 25; the second gives its 6 back.

    The first takes the last two of these, for its tokens 25 to 31, and ends.  The second finds the 16 tokens of the
    other four and computes 9 again; without a prefix cache it computes all 25.
    """
    requests = [Request(index, 0, 20, 12) for index in range(2)]
    bounds = limits(kv_blocks=12, max_num_batched_tokens=40)
    computed = []
    for is_caching in (True, False):
        scheduler = build_scheduler(engine_options(enable_prefix_caching=is_caching, block_size=4), bounds)
        replica = Replica(ReplicaSettings(0, bounds, 0), scheduler, Linear(), ReplicaLog(0))
        for request in requests:
            replica.receive(Message(instant(0, Kind.DELIVERY), HUB_SOURCE, request.request_id, Dispatch(request, 0)))
        responses = sorted(message.payload for message in replica.advance(NEVER))
        assert [response.preemptions for response in responses] == [0, 1]
        assert responses[1].cached_tokens == 0, "only first admissions count"
        computed.append(replica.log.prompt_tokens)
    assert computed == [20 + 20 + 9, 20 + 20 + 25]


@pytest.mark.parametrize("stages", [1, 2])
def test_snapshot_in_the_middle_changes_nothing(stages: int) -> None:
    """A replica restored from bytes goes on with the same hits, evictions and times, also with two stages."""
    requests = []
    for index in range(40):
        attributes = Attributes(segments=((index % 3, 24), (100 + index, 10 + index % 7)), output_segment=200 + index)
        requests.append(Request(index, index * 20_000, 34 + index % 7, 5 + index % 11, attributes))
    bounds = limits(kv_blocks=40, pipeline_parallel=stages, batches_in_flight=stages, can_fast_forward=stages == 1)

    def build() -> Replica:
        predictor = Linear()
        predictor.stages = stages
        scheduler = build_scheduler(engine_options(enable_prefix_caching=True, block_size=4), bounds)
        return Replica(ReplicaSettings(0, bounds, 0), scheduler, predictor, ReplicaLog(0, stages))

    results = []
    for cuts in ((), (200_000, 400_000, 700_000)):
        replica, responses = responses_restored(build, requests, cuts)
        results.append(responses)
        assert replica._scheduler.kv_used_blocks == 0
    assert len(results[0]) == 40
    assert results[0] == results[1]
    assert sum(outcome.cached_tokens for outcome in results[0]) > 20 * 24
    assert stages == 2 or sum(outcome.preemptions for outcome in results[0]) > 0


SESSION = st.tuples(st.integers(0, 3), st.integers(1, 30), st.integers(1, 24), st.integers(0, 400_000))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    turns=st.lists(SESSION, min_size=1, max_size=24),
    blocks=st.integers(28, 80),
    budget=st.integers(9, 48),
    seqs=st.integers(1, 8),
    threshold=st.sampled_from([0, 7]),
    depth=st.sampled_from([1, 2]),
)
@pytest.mark.parametrize(
    "policy", ["fcfs", "priority", "sjf", "predicted_sjf", "priority_aging", "edf", "lrs", "st", "lpm", "vtc"]
)
def test_fast_forwarding_changes_nothing(
    policy: str, turns: list, blocks: int, budget: int, seqs: int, threshold: int, depth: int
) -> None:
    """Sessions whose turns share prefixes end alike fast-forwarded or not, preemptions and hits included."""
    requests, contexts, now = [], {}, 0
    for index, (session, prompt, output, gap) in enumerate(turns):
        now += gap
        context = [*contexts.get(session, [(session, 5)]), (100 + 2 * index, prompt)]
        if sum(tokens for _, tokens in context) > 80:
            context = [(session, 5), (100 + 2 * index, prompt)]
        total = sum(tokens for _, tokens in context)
        attributes = Attributes(
            segments=tuple(context), output_segment=101 + 2 * index, priority=index % 3, tenant=str(session % 2)
        )
        requests.append(Request(index, now, total, output, attributes))
        contexts[session] = [*context, (101 + 2 * index, output)]
    results = []
    for can_fast_forward in (True, False):
        bounds = limits(
            kv_blocks=blocks,
            max_num_batched_tokens=max(budget, seqs),
            max_num_seqs=seqs,
            can_fast_forward=can_fast_forward,
            batches_in_flight=depth,
            is_async=depth == 2,
        )
        responses, scheduler = run(requests, bounds, policy=policy, long_prefill_token_threshold=threshold)
        assert len(responses) == len(requests)
        assert scheduler.kv_used_blocks == 0
        results.append(responses)
    assert results[0] == results[1]
