"""The host tier of the prefix cache: what the device has lost comes back for the price of loading it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster_sim.engine.instant import NEVER, Kind, instant
from cluster_sim.engine.process import HUB_SOURCE, Message
from cluster_sim.hardware.predictors.kinds.linear import LinearOptions, LinearPredictor
from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.serving.kv_cache.host_tier import HostedCache
from cluster_sim.serving.messages import Dispatch, Response
from cluster_sim.serving.replica import Replica
from cluster_sim.serving.replica_settings import ReplicaSettings
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.data_parallel import build_scheduler
from cluster_sim.serving.schedulers.engine_options import engine_options
from cluster_sim.serving.schedulers.vllm_v1 import VllmV1
from cluster_sim.workload.request import Attributes, Request
from tests.hardware.replicas import hardware

PREDICTOR = LinearPredictor(LinearOptions(alpha_us=10.0, beta_us=1.0), hardware())
"""10 us a step and 1 us a token."""


def serve(
    requests: list[Request], device_blocks: int, host_blocks: int, *, is_fast: bool = True
) -> dict[int, Response]:
    """Serve requests on one replica with blocks of 4 tokens, 1 us to load each; return the responses by request.

    Afterwards both tiers have all their blocks back.
    """
    bounds = SchedulerLimits(device_blocks, 4, 8, 64, 256, 1, 1, is_async=False, can_fast_forward=is_fast)
    engine = engine_options(enable_prefix_caching=True, block_size=4, host_blocks=host_blocks, host_load_block_us=1.0)
    scheduler = build_scheduler(engine, bounds)
    assert isinstance(scheduler, VllmV1)
    cache = scheduler._kv
    assert isinstance(cache, HostedCache)
    replica = Replica(ReplicaSettings(0, bounds, 0), scheduler, PREDICTOR, ReplicaLog(0))
    for request in requests:
        at = instant(request.arrival_ns, Kind.DELIVERY)
        replica.receive(Message(at, HUB_SOURCE, request.request_id, Dispatch(request, 0)))
    messages = replica.advance(NEVER)
    assert scheduler.kv_used_blocks == 0
    cache.validate()
    return {message.payload.request_id: message.payload for message in messages}


def three() -> list[Request]:
    """Return a prompt of 40 tokens, one that fills 16 blocks of the device, and the first one with 8 tokens more."""
    return [
        Request(0, 0, 40, 2, Attributes(segments=((1, 40),))),
        Request(1, 10**6, 60, 2),
        Request(2, 2 * 10**6, 48, 2, Attributes(segments=((1, 40), (9, 8)))),
    ]


@pytest.mark.parametrize(("host_blocks", "hit_tokens", "loaded"), [(100, 40, 10), (25, 40, 10), (18, 12, 3)])
def test_lost_prefix_is_loaded_back(host_blocks: int, hit_tokens: int, loaded: int) -> None:
    """The device has lost all 10 blocks; the host has them, or of 18 blocks the 3 that the 15 of the second request
    leave.  The step is 10 us and 1 us for every token not found, and waits 1 us for every block loaded.
    """
    third = serve(three(), 16, host_blocks)[2]
    assert third.cached_tokens == hit_tokens
    assert third.first_token_ns - third.scheduled_ns == 1000 * (10 + 48 - hit_tokens + loaded)


def test_what_the_device_still_has_is_not_loaded() -> None:
    """On a device of 64 blocks nothing is lost, so nothing is loaded: the step has no wait."""
    third = serve(three(), 64, 100)[2]
    assert third.cached_tokens == 40
    assert third.first_token_ns - third.scheduled_ns == 18_000


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 60), st.integers(1, 20), st.integers(0, 150)), max_size=25),
    st.sampled_from([24, 40, 200]),
    st.sampled_from([1, 7, 40, 1000]),
)
def test_fast_forwarding_changes_nothing(turns: list, device_blocks: int, host_blocks: int) -> None:
    """Random requests with shared prefixes end alike however decodes are advanced, and both tiers keep their books."""
    requests, at_ns = [], 0
    for index, (family, prompt, output, gap_us) in enumerate(turns):
        at_ns += gap_us * 1000
        shared = min(prompt, 8 + 12 * family)
        segments = ((family, shared),) + (((100 + index, prompt - shared),) if prompt > shared else ())
        requests.append(Request(index, at_ns, prompt, output, Attributes(segments=segments)))
    fast, slow = (serve(requests, device_blocks, host_blocks, is_fast=is_fast) for is_fast in (True, False))
    assert fast == slow
