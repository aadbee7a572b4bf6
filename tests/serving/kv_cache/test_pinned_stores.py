"""vLLM's offloading connector before 0.21: pinned blocks, refused stores, and the CPU time that they take."""

from pathlib import Path

import pytest

from cluster_sim.engine.instant import NEVER, Kind, instant
from cluster_sim.engine.process import HUB_SOURCE, Message
from cluster_sim.errors import InputError
from cluster_sim.hardware.memory_plan import host_block_bytes
from cluster_sim.hardware.predictors.kinds.linear import LinearOptions, LinearPredictor
from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.serving.kv_cache.pinned_stores import ENTRY_NS, REFUSAL_US, PinnedStores
from cluster_sim.serving.limits_resolution import sized_for_host
from cluster_sim.serving.messages import Dispatch
from cluster_sim.serving.replica import Replica
from cluster_sim.serving.replica_settings import ReplicaSettings
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.data_parallel import build_scheduler
from cluster_sim.serving.schedulers.engine_options import engine_options
from cluster_sim.simulation.plan import make_plan
from cluster_sim.workload.request import Request
from tests.hardware.replicas import hardware
from tests.small_run import small_study


def test_a_full_cache_refuses_until_a_request_ends() -> None:
    """Ten blocks of 4 tokens: 8 and 2 are stored, the third request's 1 is refused each step until the first ends."""
    stores = PinnedStores(10, 4)
    for key in (1, 2, 3):
        stores.enter(key, 0)
    one = round(REFUSAL_US * 1000 + 10 * ENTRY_NS)
    assert stores.offer([(1, 33), (2, 8)]) == 0
    assert stores.offer([(1, 33), (2, 9), (3, 7)]) == one
    assert stores.offer([(1, 36), (2, 9), (3, 7)]) == 2 * one
    assert stores.leave(1) == 8
    assert stores.offer([(2, 9), (3, 7)]) == 0
    assert (stores.leave(2), stores.leave(3), stores.leave(4)) == (2, 1, 0)


def test_a_walk_is_as_long_as_the_cache_is_full() -> None:
    """A store that alone is too large is refused after a walk over the 3 blocks that are there; what a request shares
    with the cache it does not offer.
    """
    stores = PinnedStores(10, 4)
    stores.enter(1, 0)
    stores.enter(2, 5)
    assert stores.offer([(1, 12), (2, 20)]) == 0
    stores.enter(3, 0)
    assert stores.offer([(3, 48)]) == round(REFUSAL_US * 1000 + 3 * ENTRY_NS)


def last_token_us(version: str, *, is_async: bool, is_fast: bool = True) -> float:
    """Return when the last of four requests of 40 + 60 tokens ends whose host memory has 30 blocks of 4 tokens."""
    bounds = SchedulerLimits(200, 4, 8, 256, 256, 1, 1 + is_async, is_async=is_async, can_fast_forward=is_fast)
    engine = engine_options(version=version, enable_prefix_caching=True, block_size=4, kv_offload={"cpu_gib": 1})
    engine = engine.model_copy(update={"host_blocks": 30, "host_load_block_us": 1.0})
    predictor = LinearPredictor(LinearOptions(alpha_us=100.0, beta_us=0.0), hardware())
    replica = Replica(ReplicaSettings(0, bounds, 0), build_scheduler(engine, bounds), predictor, ReplicaLog(0))
    for number in range(4):
        message = Message(instant(0, Kind.DELIVERY), HUB_SOURCE, number, Dispatch(Request(number, 0, 40, 60), 0))
        replica.receive(message)
    return max(message.payload.finish_ns for message in replica.advance(NEVER)) / 1e3


def test_the_engine_waits_for_refused_stores() -> None:
    """60 steps of 100 us take 6 ms, and from 0.21 on nothing is added.  Before, three prompts of 10 blocks fill the
    cache: one refusal (32 us) in each of the first steps hides beside the GPU's; once all four have grown, from the
    fifth step on, 4 x 32.22 us are longer than the step.  Where planning waits for the step they come on top.
    """
    one = REFUSAL_US + 30 * ENTRY_NS / 1e3
    assert last_token_us("0.21", is_async=True) == last_token_us("0.21", is_async=False) == 6000
    longer = 4 * one - 100
    assert 6000 + 53 * longer < last_token_us("0.15", is_async=True) < 6000 + 60 * longer
    assert last_token_us("0.15", is_async=False) == pytest.approx(6000 + (4 + 56 * 4) * one, abs=2 * one)


@pytest.mark.parametrize("is_async", [True, False])
def test_fast_forwarding_changes_nothing(is_async: bool) -> None:
    """Whether decodes are counted or walked, the same step waits for the same refusals."""
    assert last_token_us("0.15", is_async=is_async) == last_token_us("0.15", is_async=is_async, is_fast=False)


def test_gibibytes_become_blocks() -> None:
    """A block of 16 tokens of Llama-3.1-8B is 2 MiB over all GPUs, whatever their number: 8 GiB hold 4,096; too few
    are refused, and so are two sizes.
    """
    engine = engine_options(kv_offload={"cpu_gib": 8}, enable_prefix_caching=True)
    for degree in (1, 2):
        machine = hardware("llama-3.1-8b", tensor_parallel=degree)
        assert host_block_bytes(machine) == 2 << 20
        assert sized_for_host(engine, machine).host_blocks == 4096  # type: ignore[attr-defined]
    small = engine_options(kv_offload={"cpu_gib": 0.001}, enable_prefix_caching=True)
    with pytest.raises(InputError, match=r"kv_offload.cpu_gib: 0.001 GiB hold no KV block of 2,097,152 bytes"):
        sized_for_host(small, hardware("llama-3.1-8b"))
    with pytest.raises(InputError, match="set one of the two"):
        sized_for_host(engine.model_copy(update={"host_blocks": 5}), hardware("llama-3.1-8b"))


def test_studies_take_it(tmp_path: Path) -> None:
    """A study's pool gets the blocks of its host memory; without prefix caching there is nothing to keep."""
    offload = "fleet.pools.0.engine.kv_offload.cpu_gib=4"
    caching = "fleet.pools.0.engine.enable_prefix_caching"
    (pool,) = make_plan(small_study(tmp_path, offload, f"{caching}=true")).pools
    assert pool.pool.engine.host_blocks == 2048  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=r"engine.kv_offload: host memory keeps prefixes"):
        make_plan(small_study(tmp_path, offload, f"{caching}=false"))
