"""Steps of data-parallel ranks, and experts divided over GPUs, by hand."""

import pytest

from cluster_sim.errors import InputError
from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.hardware.device import load_device
from cluster_sim.hardware.memory_plan import plan_memory
from cluster_sim.hardware.model import load_model
from cluster_sim.hardware.predictors.kinds.linear import LinearOptions
from cluster_sim.hardware.predictors.kinds.physical import PhysicalOptions
from cluster_sim.hardware.predictors.kinds.roofline import RooflineEfficiency, RooflineOptions, RooflinePredictor
from cluster_sim.hardware.predictors.kinds.two_phase import TwoPhaseOptions
from cluster_sim.hardware.predictors.pool_predictor import build_predictor
from cluster_sim.hardware.replica_hardware import ExpertSharding
from cluster_sim.hardware.sharding import shard
from tests.hardware.replicas import hardware

MIXTRAL, H100 = load_model("mixtral-8x7b"), load_device("h100-sxm")
FREE = RooflineEfficiency(1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0)
"""Data-sheet rates and no constants."""


def test_a_step_is_that_of_the_slowest_rank() -> None:
    """Of 100 and 7 tokens the 100 count: 1 ms + 100 x 10 us; the hand-off to the next stage has 100 tokens too."""
    config = LinearOptions(kind="linear", alpha_us=1000, beta_us=10)
    predictor = build_predictor(config, hardware(MIXTRAL, experts=ExpertSharding(2)))
    long = BatchShape(prefills=[(100, 0)], completed_prefills=1)
    short = BatchShape(decodes=7, decode_kv_tokens=70)
    joint = BatchShape(7, 70, [(100, 0)], 1, ranks=(long, short))
    assert predictor.step_ns(joint) == predictor.step_ns(long) == 2_000_000
    assert predictor.step_ns(short) == 1_070_000
    assert joint.tokens == 100
    assert predictor.floor_ns() == 1_010_000
    assert predictor.label == "linear, 2 ranks"


def test_ranks_divide_the_experts_and_share_their_tokens() -> None:
    """Each of four ranks holds a quarter of the experts, and activates what the tokens of all four do."""
    one, four = (shard(hardware(MIXTRAL, H100, 2, experts=ExpertSharding(ranks))) for ranks in (1, 4))
    assert four.expert_weight_bytes == one.expert_weight_bytes / 4
    assert four.dense_weight_bytes == one.dense_weight_bytes
    assert ExpertSharding(4).activated_ratio(MIXTRAL, 4) == pytest.approx(1 - 0.75**4)
    assert ExpertSharding(1).activated_ratio(MIXTRAL, 1) == pytest.approx(0.25)


def test_exchange_between_ranks_by_hand() -> None:
    """Two ranks of 64 tokens exchange 2 x 64 x 4096 x 2 bytes and two latencies in each of 32 layers."""
    one = RooflinePredictor(hardware(MIXTRAL), FREE)
    two = RooflinePredictor(hardware(MIXTRAL, experts=ExpertSharding(2)), FREE)
    part = shard(hardware(MIXTRAL))
    experts_s = [
        share * part.expert_weight_bytes * (1 - 0.75**tokens) / H100.memory_bandwidth_bytes_per_s
        for share, tokens in ((1, 64), (0.5, 128))
    ]
    link = H100.interconnect
    exchange_s = 32 * (2e-6 * link.latency_us + 2 * 64 * 4096 * 2 / link.bandwidth_bytes_per_s)
    difference_ns = two.tokens_cost(64, 0) - one.tokens_cost(64, 0)
    assert difference_ns == pytest.approx(1e9 * (experts_s[1] - experts_s[0] + exchange_s), rel=1e-9)


def test_long_steps_are_not_padded() -> None:
    """A prompt of 2,000 tokens beside a decode: the experts of each of two ranks compute half of 2,001 tokens, bound by
    arithmetic, and 2,001 / 2 tokens come from the other rank; up to 512 tokens the other rank is padded.
    """
    predictor = build_predictor(RooflineOptions(), hardware(MIXTRAL, experts=ExpertSharding(2)))
    long = BatchShape(prefills=[(2000, 0)], completed_prefills=1)
    decode = BatchShape(decodes=1, decode_kv_tokens=100)
    joint = BatchShape(1, 100, [(2000, 0)], 1, ranks=(long, decode))
    expert_flops = 2.0 * 32 * 2 * MIXTRAL.expert_parameters / (H100.peak_flops("bf16") * 0.65)
    exchange_s = 32 * 2 * 4096 * 2 / (H100.interconnect.bandwidth_bytes_per_s * 0.60)
    saved_ns = 1e9 * (2000 - 2001 / 2) * (expert_flops + exchange_s)
    assert predictor.step_ns(long) - predictor.step_ns(joint) == pytest.approx(saved_ns, abs=2)
    short = BatchShape(prefills=[(500, 0)], completed_prefills=1)
    assert predictor.step_ns(BatchShape(1, 100, [(500, 0)], 1, ranks=(short, decode))) == predictor.step_ns(short)


@pytest.mark.parametrize("ratio", [1.5, 2.0])
def test_imbalance_scales_the_experts_alone(ratio: float) -> None:
    """The busiest GPU's experts take the ratio times the mean, here their reading; nothing else changes."""
    even = RooflinePredictor(hardware(MIXTRAL, H100, 2), FREE)
    uneven = RooflinePredictor(hardware(MIXTRAL, H100, 2, experts=ExpertSharding(1, ratio)), FREE)
    moved = shard(hardware(MIXTRAL, H100, 2)).expert_weight_bytes * (1 - 0.75**8)
    difference_ns = uneven.tokens_cost(8, 0) - even.tokens_cost(8, 0)
    assert difference_ns == pytest.approx((ratio - 1) * 1e9 * moved / H100.memory_bandwidth_bytes_per_s, rel=1e-9)


def test_the_calibrated_model_knows_the_same_terms() -> None:
    """Two ranks are faster than one with all experts, imbalance is slower, and floors stay below."""
    config = PhysicalOptions(kind="physical", profile="vllm")
    decode = BatchShape(decodes=32, decode_kv_tokens=32_000)
    even, two, uneven = (
        build_predictor(config, hardware(MIXTRAL, H100, 2, experts=experts))
        for experts in (ExpertSharding(), ExpertSharding(2), ExpertSharding(1, 2.0))
    )
    assert two.step_ns(decode) < even.step_ns(decode) < uneven.step_ns(decode)
    for predictor in (even, two, uneven):
        assert predictor.floor_ns() <= predictor.step_ns(BatchShape(decodes=1))
        assert predictor.decode_run_ns(32, 32_000, 3)[0] == predictor.step_ns(decode)


def test_a_rank_has_room_for_more_blocks() -> None:
    """What two ranks save in experts, less the collectives' buffers, is cache."""
    one, two = (plan_memory(hardware(MIXTRAL, H100, 2, experts=ExpertSharding(ranks))) for ranks in (1, 2))
    assert one.weights_bytes - two.weights_bytes == pytest.approx(
        shard(hardware(MIXTRAL, H100, 2)).expert_weight_bytes / 2
    )
    assert two.kv_blocks - one.kv_blocks == pytest.approx(
        (one.weights_bytes - two.weights_bytes) / one.kv_bytes_per_block, abs=1
    )


def test_sources_that_know_no_experts_are_refused() -> None:
    """Whole-replica measurements cannot be divided over ranks, and a linear model has no experts to slow down."""
    with pytest.raises(InputError, match=r"predictor\.kind: two_phase has measured whole replicas"):
        build_predictor(TwoPhaseOptions(), hardware(MIXTRAL, experts=ExpertSharding(2)))
    with pytest.raises(InputError, match="predictor linear knows evenly used experts only"):
        build_predictor(LinearOptions(alpha_us=1), hardware(MIXTRAL, experts=ExpertSharding(2, 1.5)))
