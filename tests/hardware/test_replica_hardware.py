"""Formats of experts and how GPUs share them, as they follow from a replica's model and settings."""

import math

import pytest

from cluster_sim.hardware.model import load_model
from cluster_sim.hardware.precision import PartPrecision
from cluster_sim.hardware.replica_hardware import ExpertSharding
from tests.hardware.replicas import hardware

NVFP4 = {"experts": PartPrecision(dtype="fp4", bits=4.5, arithmetic="fp4")}


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("mixtral-8x7b", {}, "bf16"),
        ("deepseek-r1", {}, "fp8"),
        ("deepseek-r1", {"weight_dtype": "fp4"}, "nvfp4"),
        ("deepseek-r1", {"precision": NVFP4}, "nvfp4"),
        ("kimi-k2.5", {}, "int4"),
        ("gpt-oss-120b", {}, ""),
        ("mixtral-8x7b", {"weight_dtype": "int8"}, ""),
        ("llama-3-8b", {}, ""),
    ],
)
def test_experts_have_the_format_of_their_file(name, changes, expected):
    """bf16, fp8, NVFP4 and int4 by the model's own precision; MXFP4, int8 and models without experts have none."""
    assert hardware(load_model(name).model_copy(update=changes)).expert_format == expected


def test_the_engine_s_quantisation_decides_over_the_file():
    """Mixtral quantised to fp8 by the engine has experts in fp8, gpt-oss those in fp8 too."""
    assert hardware("mixtral-8x7b", weight_dtype="fp8").expert_format == "fp8"
    assert hardware("gpt-oss-120b", weight_dtype="fp8").expert_format == "fp8"


def test_mxfp4_on_blackwell_has_the_kernels_of_tensorrt_llm():
    """TensorRT-LLM computes MXFP4 on Blackwell with activations of 8 bits; on Hopper, and for other engines, flags say
    what happens.
    """
    assert hardware("gpt-oss-120b", "b200", kernels="trtllm").expert_format == "mxfp4_fp8"
    spread = ExpertSharding(groups=2)
    assert hardware("gpt-oss-120b", "b200", 2, experts=spread, kernels="trtllm").expert_format == "mxfp4_fp8_spread"
    assert hardware("gpt-oss-120b", "h200", kernels="trtllm").expert_format == ""
    assert hardware("gpt-oss-120b", "b200", kernels="sglang").expert_format == ""


def test_whole_experts_have_formats_of_their_own():
    """Where GPUs hold whole experts, the kernels are others; a format that is not known stays so."""
    spread = ExpertSharding(groups=8)
    assert hardware("deepseek-r1", "h200", 8, experts=spread).expert_format == "fp8_spread"
    assert hardware("gpt-oss-120b", "h200", 8, experts=spread).expert_format == ""


def test_the_busiest_gpu_has_more_experts_to_read():
    """One token chooses 2 of Mixtral's 8 experts: of two GPUs with 4 each the greater of two draws lies 0.589 standard
    deviations above the mean (Blom), and sqrt(0.25 x 0.75 / 4) is one.  A crowd activates all.
    """
    model = load_model("mixtral-8x7b")
    busiest = ExpertSharding(groups=2).busiest_activated_ratio(model, 1)
    assert busiest == pytest.approx(0.25 + 0.5895 * math.sqrt(0.25 * 0.75 / 4), rel=1e-4)
    assert ExpertSharding().busiest_activated_ratio(model, 1) == 0.25
    assert ExpertSharding(groups=8).busiest_activated_ratio(model, 500) == pytest.approx(1.0)


def test_the_busiest_gpu_has_more_tokens_to_compute():
    """Of 64 choices of two GPUs each, the busier one has 64 + 0.589 x 8; slices of experts are always in balance."""
    model = load_model("mixtral-8x7b")
    assert ExpertSharding(groups=2).busiest_share(model, 64) == pytest.approx((64 + 0.5895 * 8) / 64, rel=1e-4)
    assert ExpertSharding(groups=2).busiest_share(model, 1) == pytest.approx(1.5895, rel=1e-4)
    assert ExpertSharding(2).busiest_share(model, 1) == 1.0


def test_many_ranks_exchange_by_all_to_all():
    """Of 160 tokens 150 are of the 15 other ranks, and each reaches a rank by 8 choices of 16: 1 - (15/16)^8 of them
    come here and go back.  vLLM gathers all, and so do 8 ranks, or those with slices of experts.
    """
    model = load_model("deepseek-v3")
    all_bytes = 2 * 150 * 7168 * 2
    wide = ExpertSharding(16, groups=16)
    assert wide.exchanged_bytes(model, 160, "sglang") == pytest.approx(all_bytes * (1 - (15 / 16) ** 8))
    assert wide.exchanged_bytes(model, 160, "vllm") == pytest.approx(all_bytes)
    assert ExpertSharding(16).exchanged_bytes(model, 160, "sglang") == pytest.approx(all_bytes)
    assert ExpertSharding(8, groups=8).exchanged_bytes(model, 160, "trtllm") == pytest.approx(2 * 140 * 7168 * 2)
