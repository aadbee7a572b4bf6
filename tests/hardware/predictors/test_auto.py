"""The choice of the best source of step times, with its reason."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster_sim.conf_directory import library_path
from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.hardware.device import Device, load_device
from cluster_sim.hardware.power_cap import capped
from cluster_sim.hardware.predictors.error_band import BandCase
from cluster_sim.hardware.predictors.kinds.auto import AutoOptions
from cluster_sim.hardware.predictors.kinds.physical import PhysicalOptions
from cluster_sim.hardware.predictors.kinds.roofline import RooflineOptions
from cluster_sim.hardware.predictors.operator_profile_file import write_profile
from cluster_sim.hardware.predictors.pool_predictor import build_predictor
from cluster_sim.hardware.predictors.predictor_interface import MeasuredSteps, Predictor
from cluster_sim.hardware.replica_hardware import ExpertSharding
from tests.hardware.predictors.small_profile import small_profile
from tests.hardware.replicas import hardware

SGLANG = {"kind": "sglang", "kernels": "sglang"}
ORCA = {"kind": "orca", "kernels": ""}
STEPS = (BatchShape(8, 4000), BatchShape(8, 4000, [(512, 0)], 1))


def chosen(folder: Path | None = None, model: str = "llama-3-8b", device: str | Device = "h100-sxm", **engine: Any):
    options = AutoOptions(folder=None if folder is None else str(folder))
    return build_predictor(options, hardware(model, device, **engine))


def steps(predictor: Predictor) -> list[int]:
    return [predictor.step_ns(shape) for shape in STEPS]


@pytest.mark.parametrize(
    ("model", "device", "engine", "label", "words", "case"),
    [
        ("llama-3.1-8b", "h100-sxm", {}, "physical (vllm)", "measured with this engine, device", BandCase.SEEN),
        ("llama-3-8b", "h100-sxm", {}, "physical (vllm)", "measured with", BandCase.MODEL_OR_TP_UNSEEN),
        ("llama-3-8b", "a40", {}, "physical (vllm)", "by the operators of l40s", BandCase.DEVICE_UNSEEN),
        ("llama-3-8b", "b200", {}, "physical (vllm)", "by the device's own operators", BandCase.DEVICE_UNSEEN),
        ("llama-3-8b", "mi300x", {}, "physical (vllm)", "no device of this architecture", BandCase.NONE_KNOWN),
        ("llama-3-8b", "h100-sxm", ORCA, "physical (vllm)", "as none of orca were measured", BandCase.NONE_KNOWN),
        ("llama-3-8b", "h100-sxm", {"weight_dtype": "int4"}, "physical (vllm)", "precision int4", BandCase.NONE_KNOWN),
        ("llama-3.1-70b", "h100-sxm", {"kind": "vllm_v0", "version": "0.6"}, "physical (vllm-0.6)", "TP 1",
         BandCase.MODEL_OR_TP_UNSEEN),
        ("llama-3-8b", "h100-sxm", {"kind": "vllm_v0"}, "physical (vllm-0.6)", "vllm_v0 0.15", None),
        ("llama-3-8b", "h100-sxm", SGLANG, "physical (vllm)", "sglang; with sglang's kernels", None),
    ],
)  # fmt: skip
def test_coefficients_of_the_engine_before_others(
    model: str, device: str, engine: dict[str, Any], label: str, words: str, case: BandCase | None
) -> None:
    """Its own engine's, its own device's, and the reason says what was not measured and what stands for it."""
    predictor = chosen(None, model, device, **engine)
    assert predictor.label == label
    assert words in predictor.choice
    assert case is None or predictor.error_band.case is case
    assert (predictor.measured is MeasuredSteps.ALL) == ("measured with this engine" in predictor.choice)


def test_the_device_s_figures_count_not_its_name() -> None:
    """A copy of the H100's file under another name gives the same steps and counts as measured; one with other figures
    under the H100's name does not.
    """
    known = chosen()
    copy = chosen(device=load_device("h100-sxm").model_copy(update={"name": "our-gpu"}))
    assert steps(copy) == steps(known)
    assert (copy.measured, copy.error_band) == (known.measured, known.error_band)
    faster = chosen(device=load_device("h100-sxm").model_copy(update={"memory_bandwidth_bytes_per_s": 4e12}))
    assert faster.measured is MeasuredSteps.NONE
    assert faster.error_band.case is BandCase.DEVICE_UNSEEN
    a100 = chosen(device=load_device("a100-80gb").model_copy(update={"name": "our-gpu"}))
    assert steps(a100) == steps(chosen(device="a100-80gb"))


def test_choosing_equals_naming() -> None:
    """The chosen source gives the steps that it gives when a study names it, and never those of the data sheet."""
    assert steps(chosen()) == steps(build_predictor(PhysicalOptions(profile="vllm"), hardware()))
    assert steps(chosen()) != steps(build_predictor(RooflineOptions(), hardware()))


def test_an_operator_profile_that_matches_comes_first(tmp_path: Path) -> None:
    """It is used with the calibrated time of the engine on top; one of another version is passed over, and named."""
    write_profile(small_profile(), tmp_path / "mine.parquet")
    predictor = chosen(tmp_path)
    assert predictor.choice.startswith("operator profile mine.parquet, measured with this engine")
    assert predictor.measured is MeasuredSteps.SOME
    assert predictor.error_band.case is BandCase.OPERATORS_SEEN
    coefficients = yaml.safe_load((library_path("profiles") / "vllm.yaml").read_text())["coefficients"]
    bare_us = 32 * (15 + 2 + 10 + 25) + 5 + 500
    overhead_us = coefficients["step_us"] + 5 * coefficients["sequence_us"]
    assert predictor.step_ns(BatchShape(5, 2500)) == pytest.approx((bare_us + overhead_us) * 1e3, abs=1)
    other = chosen(tmp_path, version="0.16")
    assert other.label == "physical (vllm)"
    assert other.choice.endswith("operator profile mine.parquet was measured with engine version 0.15, not 0.16")


def test_one_s_own_calibration_comes_before_a_shipped_one(tmp_path: Path) -> None:
    """A calibration of one's own server is chosen where the shipped one knows no more of the case, not elsewhere."""
    text = (library_path("profiles") / "vllm.yaml").read_text(encoding="utf-8")
    mine = yaml.safe_load(text)
    mine |= {"name": "mine", "operators": "", "reference_device": "h100-sxm"}
    mine["measured"] = [{**mine["measured"][0], "version": "0.15", "model": "llama-3-8b", "tensor_parallel": 1}]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine), encoding="utf-8")
    (tmp_path / "study.yaml").write_text("name: another file\n", encoding="utf-8")
    assert chosen(tmp_path).label == "physical (mine)"
    assert chosen(tmp_path).error_band.case is BandCase.SEEN
    assert chosen(tmp_path, device="b200").label == "physical (vllm)"


def test_ranks_imbalance_and_power_caps_are_priced(tmp_path: Path) -> None:
    """Ranks with unevenly used experts pass an operator profile over, with the reason; a cap makes prompts slower and
    steps unmeasured.
    """
    write_profile(small_profile(), tmp_path / "mine.parquet")
    ranks = hardware("mixtral-8x7b", "h100-sxm", 2, experts=ExpertSharding(2, 1.5))
    predictor = build_predictor(AutoOptions(folder=str(tmp_path)), ranks)
    assert predictor.ranks == 2
    assert predictor.choice.endswith("operator profile mine.parquet knows evenly used experts only")
    prompt = BatchShape(0, 0, [(8000, 0)], 1)
    slow = chosen(device=capped(load_device("h100-sxm"), 400.0))
    assert slow.step_ns(prompt) > chosen().step_ns(prompt)
    assert slow.measured is MeasuredSteps.NONE
