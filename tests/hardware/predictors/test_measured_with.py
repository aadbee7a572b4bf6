"""Configurations that were measured, and what of a replica's was not."""

from typing import Any

import pytest

from cluster_sim.hardware.device import Device, load_device
from cluster_sim.hardware.model import load_model
from cluster_sim.hardware.predictors.measured_with import (
    Kinship,
    MeasuredWith,
    architecture_class,
    minor_version,
    profile_mismatch,
)
from cluster_sim.hardware.predictors.operator_profile import ProfileInfo
from tests.hardware.replicas import hardware

MEASURED = tuple(
    MeasuredWith(
        engine="vllm_v1",
        version=version,
        device="h100-sxm",
        model=model,
        architecture="dense",
        precision="bf16",
        tensor_parallel=degree,
    )
    for version, model, degree in (("0.15", "llama-2-7b", 1), ("0.15", "llama-2-70b", 4), ("0.23.1", "qwen3-14b", 1))
)


def renamed(**changes: Any) -> Device:
    return load_device("h100-sxm").model_copy(update={"name": "ours", **changes})


@pytest.mark.parametrize(
    ("model", "device", "degree", "engine", "unmeasured"),
    [
        ("llama-2-7b", "h100-sxm", 1, {}, []),
        ("llama-3-8b", "h100-sxm", 1, {"version": "0.15.1"}, []),
        ("llama-3-8b", renamed(), 4, {}, []),
        ("llama-3-8b", renamed(price_usd_per_hour=9.0, memory_bytes=1 << 37), 1, {}, []),
        ("llama-3-8b", renamed(memory_bandwidth_bytes_per_s=3.2e12), 1, {}, ["device ours"]),
        (
            "llama-3-8b",
            load_device("h100-sxm").model_copy(update={"architecture": "cdna3"}),
            1,
            {},
            ["device h100-sxm"],
        ),
        ("llama-3-8b", "h100-sxm", 2, {}, ["TP 2"]),
        ("llama-3-70b", "h100-sxm", 4, {"version": "0.23"}, ["TP 4"]),
        ("mixtral-8x7b", "h100-sxm", 4, {}, ["architecture experts"]),
        ("llama-3-8b", "h100-sxm", 1, {"weight_dtype": "fp4"}, ["precision fp4"]),
        ("llama-3-8b", "h100-sxm", 1, {"version": "0.19"}, ["vllm_v1 0.19"]),
        ("mixtral-8x7b", "mi300x", 2, {"version": "0.19"}, ["vllm_v1 0.19", "device mi300x", "architecture experts"]),
        ("llama-3-8b", "mi300x", 1, {"kind": "sglang"}, ["sglang", "device mi300x"]),
    ],
)
def test_what_was_not_measured(
    model: str, device: str | Device, degree: int, engine: dict[str, Any], unmeasured: list[str]
) -> None:
    """Engine, minor version, device figures (not its name), architecture, precision and degree decide; the model does
    not, nor the device's price and memory.
    """
    kinship = Kinship(hardware(model, device, degree, **{"version": "0.15", **engine}), MEASURED)
    assert kinship.unmeasured == unmeasured
    assert kinship.is_covered == (not unmeasured)
    assert kinship.has_model == (model == "llama-2-7b")


def test_architecture_classes() -> None:
    """Experts or none, latent attention, and windows in all layers or in some."""
    names = ("llama-3-8b", "mixtral-8x7b", "deepseek-v3", "mistral-7b", "llama-4-scout")
    assert [architecture_class(load_model(name)) for name in names] == [
        "dense",
        "experts",
        "experts, latent attention",
        "dense, windows",
        "experts, windows in some layers",
    ]


def test_versions_agree_in_two_numbers() -> None:
    """What is after the second number does not count."""
    assert [minor_version(text) for text in ("0.15.1", "v0.15", "0.15.0.dev3", "1")] == ["0.15", "0.15", "0.15", "1"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, ""),
        ({"dtype": "fp16"}, ""),
        ({"engine": "sglang"}, "was measured with engine sglang, not vllm"),
        ({"versions": {"vllm": "0.19.1"}}, ""),
        ({"versions": {"vllm": "0.20.0"}}, "was measured with engine version 0.20, not 0.19"),
        ({"versions": {}}, "was measured with engine version unknown, not 0.19"),
        ({"model": "llama-3-70b"}, "was measured with model llama-3-70b, not llama-3-8b"),
        ({"tensor_parallel": 2}, "was measured with TP 2, not 1"),
        ({"dtype": "fp8"}, "was measured with precision fp8, not bf16"),
        ({"device": "h200"}, "was measured on h200, whose figures are not those of h100-sxm"),
    ],
)
def test_an_operator_profile_of_something_else(changes: dict[str, Any], text: str) -> None:
    """The first part that differs is named."""
    fields: dict[str, Any] = {
        "device": "h100-sxm",
        "model": "llama-3-8b",
        "tensor_parallel": 1,
        "engine": "vllm",
        "versions": {"vllm_version": "0.19.0"},
    }
    assert profile_mismatch(ProfileInfo(**(fields | changes)), hardware(version="0.19")) == text
