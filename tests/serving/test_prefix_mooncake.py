"""Prefix hits on Mooncake's conversation trace, against an offline count of what could be reused."""

from pathlib import Path

import pytest

from cluster_sim.engine.instant import NEVER, Kind, instant
from cluster_sim.engine.process import HUB_SOURCE, Message
from cluster_sim.hardware.predictors.kinds.linear import LinearOptions, LinearPredictor
from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.serving.messages import Dispatch, Response
from cluster_sim.serving.replica import Replica
from cluster_sim.serving.replica_settings import ReplicaSettings
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.data_parallel import build_scheduler
from cluster_sim.serving.schedulers.engine_options import engine_options
from cluster_sim.workload.build import build_source
from cluster_sim.workload.kinds.trace import TraceWorkload
from cluster_sim.workload.request import Request
from tests.hardware.replicas import hardware

BLOCK = 16


@pytest.fixture(scope="module")
def requests(shared: Path) -> list[Request]:
    """The first 1,500 requests of the trace."""
    path = shared / "traces" / "mooncake_conversation.jsonl.gz"
    source = build_source(TraceWorkload(kind="trace", format="mooncake", path=str(path), first=1500), 0)
    return [request for chunk in source.chunks() for request in chunk]


def cached_tokens(requests: list[Request], blocks: int) -> list[int]:
    """Serve the requests on one replica that schedules whole prompts, in order, and return each one's hit."""
    limits = SchedulerLimits(
        kv_blocks=blocks,
        block_size=BLOCK,
        max_num_seqs=1 << 20,
        max_num_batched_tokens=1 << 40,
        max_model_len=1 << 20,
        pipeline_parallel=1,
        batches_in_flight=1,
        is_async=False,
        can_fast_forward=True,
    )
    scheduler = build_scheduler(engine_options(enable_prefix_caching=True), limits)
    predictor = LinearPredictor(LinearOptions(alpha_us=1000.0, beta_us=0.5, gamma_us=0.0), hardware())
    replica = Replica(ReplicaSettings(0, limits, 0), scheduler, predictor, ReplicaLog(0))
    for request in requests:
        at = instant(request.arrival_ns, Kind.DELIVERY)
        replica.receive(Message(at, HUB_SOURCE, request.request_id, Dispatch(request, 0)))
    ends = [each.payload for each in replica.advance(NEVER) if isinstance(each.payload, Response)]
    assert len(ends) == len(requests)
    return [each.cached_tokens for each in sorted(ends, key=lambda each: each.request_id)]


def offline_hits(requests: list[Request]) -> list[int]:
    """Count, request by request, the whole blocks of leading segments that an earlier request had, as far as it had
    them; one token is always computed.
    """
    longest: dict[int, int] = {}
    hits = []
    for request in requests:
        shared_tokens = 0
        for segment, tokens in request.attributes.segments:
            common = min(tokens, longest.get(segment, 0))
            shared_tokens += common
            if common < tokens:
                break
        hits.append(min(shared_tokens, request.prompt_tokens - 1) // BLOCK * BLOCK)
        for segment, tokens in request.attributes.segments:
            longest[segment] = max(tokens, longest.get(segment, 0))
    return hits


def test_unlimited_cache_hits_all_that_was_there_before(requests: list[Request]) -> None:
    """Every request hits exactly what an earlier one left, and that is a sizeable share of all prompt tokens."""
    hits = cached_tokens(requests, 4_000_000)
    assert hits == offline_hits(requests)
    assert sum(hits) > 0.05 * sum(request.prompt_tokens for request in requests)


def test_hits_grow_with_the_cache(requests: list[Request]) -> None:
    """A larger cache never hits less in all, and a small one hits less than an unlimited one."""
    totals = [sum(cached_tokens(requests[:800], blocks)) for blocks in (12_000, 40_000, 160_000, 4_000_000)]
    assert totals == sorted(totals)
    assert totals[0] < totals[-1]
