"""Calibrations: overrides, operator ratios that carry coefficients over, and files that are refused."""

from pathlib import Path

import pytest

from cluster_sim.errors import InputError
from cluster_sim.hardware.device import load_device
from cluster_sim.hardware.predictors.calibration_file import (
    Calibration,
    OperatorRatios,
    load_calibration,
    load_operator_ratios,
    resolve_coefficients,
    version_at_most,
)
from cluster_sim.hardware.predictors.kinds.physical import PhysicalOptions
from cluster_sim.hardware.predictors.pool_predictor import build_predictor
from cluster_sim.hardware.predictors.predictor_interface import MeasuredSteps
from tests.hardware.predictors.test_physical import BASE
from tests.hardware.replicas import hardware


def test_overrides_apply_in_order(tmp_path: Path) -> None:
    """Everything, then the kernel class, then the device, then the greatest version not above the engine's."""
    path = tmp_path / "mine.yaml"
    common = ", ".join(f"{name}: {value}" for name, value in BASE.items())
    path.write_text(
        f"name: mine\nengine: vllm\nprovenance: {{data: d, command: c}}\ncoefficients: {{{common}, frontend_us: 1}}\n"
        "architectures: {hopper: {layer_us: 7, token_us: 1}}\ndevices: {h200: {layer_us: 8}}\n"
        'versions: {"0.15": {frontend_us: 2}, "0.23": {frontend_us: 3}}\n'
    )
    calibration = load_calibration(str(path))
    assert [calibration.resolve(load_device("h200"), version).frontend_us for version in ("0.6", "0.15.1", "0.24")] == [
        2,
        2,
        3,
    ]
    assert calibration.resolve(load_device("h200")).frontend_us == 3
    found = [calibration.resolve(load_device(name)) for name in ("l40s", "h100-sxm", "h200")]
    assert [(coefficients.layer_us, coefficients.token_us) for coefficients in found] == [(0, 0), (7, 1), (8, 1)]
    fitted, unknown = (resolve_coefficients("vllm", load_device(name), "0.15")[1] for name in ("l40s", "a40"))
    assert unknown == fitted
    assert version_at_most(["0.9", "0.15"], "0.10.2") == "0.9"


def test_a_study_s_predictor_reads_its_calibration() -> None:
    """A study's physical predictor names its calibration, whose devices decide what counts as measured."""
    predictor = build_predictor(PhysicalOptions(profile="vllm"), hardware(version="0.15"))
    assert predictor.is_calibrated
    assert "vllm" in predictor.label
    assert predictor.frontend_ns > 1_000_000
    assert predictor.measured is MeasuredSteps.ALL
    assert predictor.steps_inside(4, 100, 10) == 10
    other = build_predictor(PhysicalOptions(profile="vllm"), hardware(device="mi300x"))
    assert other.measured is MeasuredSteps.NONE
    assert other.steps_inside(4, 100, 10) == 0


def test_wrong_calibrations_are_refused(tmp_path: Path) -> None:
    """An unknown coefficient or a missing one is an input error that names it."""
    path = tmp_path / "bad.yaml"
    text = "name: bad\nengine: vllm\nprovenance: {data: d, command: c}\ncoefficients: {step_us: 1, speed: 2}\n"
    path.write_text(text)
    with pytest.raises(InputError, match="calibration bad: unknown coefficients speed"):
        load_calibration(str(path)).resolve(load_device("h100-sxm"))
    path.write_text(text.replace(", speed: 2", ""))
    with pytest.raises(InputError, match="layer_us"):
        load_calibration(str(path)).resolve(load_device("h100-sxm"))


def test_operator_ratios_carry_over_to_another_engine() -> None:
    """Experts of SGLang on B200 against those of vLLM on H100; latent attention's share is its own, else the mean."""
    ratios = load_operator_ratios("operator-ratios")
    here, there = ratios.devices["b200"]["sglang"], ratios.devices["h100-sxm"]["vllm"]
    carried = ratios.transfer({"moe_layer_us": 50.0}, "vllm", "h100-sxm", "b200", "sglang")
    assert carried["moe_layer_us"] == pytest.approx(50.0 * here["moe_us"] / there["moe_us"])
    own = {engine: ratios.devices["b200"][engine]["latent_us"] for engine in ("vllm", "trtllm")}
    assert ratios.of_kernels("b200", "trtllm", "latent_us") == own["trtllm"]
    assert ratios.of_kernels("b200", "sglang", "latent_us") == pytest.approx(sum(own.values()) / 2)
    assert ratios.of_kernels("a100-80gb", "vllm", "latent_us") == 0.0
    coefficients = load_calibration("vllm").resolve(load_device("b200"), None, ratios, "trtllm")
    assert coefficients.latent_layer_us == own["trtllm"]


def test_experts_follow_the_kernels_of_their_format() -> None:
    """Fitted with experts in bf16 (20 us, 0.8 of the bandwidth): in fp8 elsewhere 30 us and 0.6 make 1.5 times the
    constant and 0.75 of the rate, and arithmetic is their own; what the engine lacks is the mean of the others; an
    unknown format and the fitted server keep the figures of all formats.  Whole experts that are spread over GPUs have
    figures of their own (24 us: 1.2 times the constant), or those of slices.
    """
    both = {"moe_us": 40.0, "moe_memory_ratio": 0.5, "moe_flops_ratio": 0.9}
    fitted = both | {"moe_us_bf16": 20.0, "moe_memory_ratio_bf16": 0.8, "moe_flops_ratio_bf16": 0.6}
    fp8 = {"moe_us_fp8": 30.0, "moe_memory_ratio_fp8": 0.6, "moe_flops_ratio_fp8": 0.3}
    spread = {"moe_us_fp8_spread": 24.0, "moe_memory_ratio_fp8_spread": 0.6, "moe_flops_ratio_fp8_spread": 0.2}
    ratios = OperatorRatios(
        name="made-up",
        devices={
            "h100-sxm": {"vllm": fitted},
            "b200": {"vllm": both | fp8, "sglang": both},
            "b300": {"vllm": both | fp8 | spread},
        },
    )
    calibration = Calibration(
        name="made-up",
        engine="vllm",
        reference_device="h100-sxm",
        coefficients={
            **dict.fromkeys(("step_us", "layer_us", "moe_layer_us"), 10.0),
            **dict.fromkeys(("gemm_memory_ratio", "moe_memory_ratio", "kv_memory_ratio"), 0.8),
            **dict.fromkeys(("gemm_flops_ratio", "attention_flops_ratio"), 0.5),
        },
    )

    def experts(device: str, engine: str, expert_format: str) -> list[float]:
        found = calibration.resolve(load_device(device), None, ratios, engine, expert_format)
        return [found.moe_layer_us, found.moe_memory_ratio, found.moe_flops_ratio]

    assert experts("b200", "vllm", "fp8") == pytest.approx([15.0, 0.6, 0.3])
    assert experts("b200", "sglang", "fp8") == pytest.approx([15.0, 0.6, 0.3])
    assert experts("b200", "vllm", "nvfp4") == experts("b200", "vllm", "") == pytest.approx([10.0, 0.8, 0.9])
    assert experts("h100-sxm", "vllm", "fp8") == pytest.approx([10.0, 0.8, 0.0])
    assert experts("b300", "vllm", "fp8_spread") == pytest.approx([12.0, 0.6, 0.2])
    assert experts("b200", "vllm", "fp8_spread") == experts("b200", "vllm", "fp8")


def test_operator_ratios_carry_coefficients_over() -> None:
    """From H100 to B200 each rate is scaled by what the operators reach there over what they reach on H100."""
    ratios = load_operator_ratios("operator-ratios")
    here, there = ratios.devices["b200"]["vllm"], ratios.devices["h100-sxm"]["vllm"]
    carried = ratios.transfer({"kv_memory_ratio": 0.9, "step_us": 300.0}, "vllm", "h100-sxm", "b200")
    assert carried["kv_memory_ratio"] == pytest.approx(0.9 * here["kv_memory_ratio"] / there["kv_memory_ratio"])
    assert carried["step_us"] == 300.0
    assert ratios.transfer({"kv_memory_ratio": 0.9}, "vllm", "h100-sxm", "mi300x") == {"kv_memory_ratio": 0.9}
    stand_ins = {"a6000": "l40s", "rtx-4090": "l40s", "a100-40gb": "a100-80gb", "h200": "h200", "mi300x": ""}
    assert {name: ratios.nearest(load_device(name), "vllm") for name in stand_ins} == stand_ins
    calibration, on_reference = resolve_coefficients("vllm", load_device("h100-sxm"), "0.15")
    assert on_reference.kv_memory_ratio == calibration.coefficients["kv_memory_ratio"]
    _, elsewhere = resolve_coefficients("vllm", load_device("b200"), "0.15")
    assert elsewhere.kv_memory_ratio == pytest.approx(
        calibration.coefficients["kv_memory_ratio"] * here["kv_memory_ratio"] / there["kv_memory_ratio"]
    )


def test_ratios_are_physical() -> None:
    """Every fitted rate lies between a quarter and 1.05 of the data sheet, on every device for vLLM; the recurrence of
    states, which has no large products, lies below.
    """
    for device, engines in load_operator_ratios("operator-ratios").devices.items():
        for name, value in engines["vllm"].items():
            if name == "state_flops_ratio":
                assert 0.005 < value < 0.25, (device, name, value)
            elif name.endswith("_ratio") and not name.startswith("all_reduce"):
                assert 0.25 < value < 1.05, (device, name, value)


def test_constants_of_layers_follow_the_chip_s_shortest_projections() -> None:
    """Fitted with 3 us a projection, 36 us a layer: with 2 us a layer has 24; with scales by blocks a projection takes
    5.5 - 2 = 3.5 us longer in fp8 and 4 - 2 = 2 in fp4; on the fitted device and engine nothing changes.
    """
    there = {"projection_us": 3.0, "projection_us_fp8": 4.0}
    here = {"projection_us": 2.0, "projection_us_fp8": 5.5, "projection_us_fp4": 4.0}
    ratios = OperatorRatios(name="made-up", devices={"h100-sxm": {"vllm": there}, "b200": {"vllm": here}})
    calibration = Calibration(
        name="made-up", engine="vllm", reference_device="h100-sxm", coefficients={**BASE, "layer_us": 36.0}
    )
    found = [calibration.resolve(load_device(device), None, ratios) for device in ("b200", "h100-sxm")]
    assert [c.layer_us for c in found] == [24.0, 36.0]
    assert [c.scaled_projection_fp8_us for c in found] == [3.5, 0.0]
    assert [c.scaled_projection_fp4_us for c in found] == [2.0, 0.0]
