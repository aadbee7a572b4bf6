"""Formats of experts, as they follow from a replica's model and settings."""

import pytest

from cluster_sim.hardware.model import load_model
from cluster_sim.hardware.precision import PartPrecision
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
