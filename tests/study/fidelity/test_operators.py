"""Predictors from operator profiles beside the measurements."""

import dataclasses

import pytest

from cluster_sim.config.errors import InputError
from cluster_sim.hardware.operator_profile import Measurement, OperatorProfile, ProfileInfo
from cluster_sim.study.fidelity.llmservingsim import BENCH, load_bench
from cluster_sim.study.fidelity.operators import (
    FOLDER,
    find_operators,
    operator_predictor,
    skew_alpha,
    stretch_attention,
)
from cluster_sim.study.fidelity.replay import set_up


def test_profiles_of_the_data_come_first(tmp_path):
    """The data's own folder is preferred to the one beside the checkout; without either there is none."""
    checkout = tmp_path / "checkout"
    assert find_operators(tmp_path / "data", checkout) is None
    shared = tmp_path / "shared" / "ground-truth" / FOLDER
    shared.mkdir(parents=True)
    assert find_operators(tmp_path / "data", checkout) == shared
    own = tmp_path / "data" / FOLDER
    own.mkdir(parents=True)
    assert find_operators(tmp_path / "data", checkout) == own


def test_a_measured_gpu_is_predicted_from_its_operators(shared):
    """The dense run finds its tables; the same run with an unmeasured degree is refused."""
    folder = shared / "ground-truth"
    case = next(each for each in load_bench(folder / BENCH)[0] if "Llama" in each.model)
    predictor = operator_predictor(case, set_up(case), folder / FOLDER, "vllm")
    assert "LLMServingSim" in predictor.label
    other = dataclasses.replace(case, tensor_parallel=4)
    with pytest.raises(InputError, match="no operator profile"):
        operator_predictor(other, set_up(other), folder / FOLDER, "vllm")


def test_unequal_contexts_stretch_attention_of_decodes_alone(tmp_path):
    """Only decode attention grows; a profile without the authors' alpha leaves it as it was measured."""
    info = ProfileInfo(device="h100-sxm", model="llama-3.1-8b", tensor_parallel=1)
    rows = (
        Measurement("attention", 10.0, decodes=4, decode_kv_tokens=100),
        Measurement("attention", 20.0, prefill_tokens=64),
        Measurement("layer.norm", 1.0, tokens=4),
    )
    stretched = stretch_attention(OperatorProfile(info, rows), 1.5)
    assert [row.time_us for row in stretched.rows] == [15.0, 20.0, 1.0]
    assert skew_alpha(tmp_path, 1) == 0.0
    (tmp_path / "meta.yaml").write_text("skew_fit: {per_tp: {1: {alpha_default: 0.05}}}\n")
    assert skew_alpha(tmp_path, 1) == 0.05
    assert skew_alpha(tmp_path, 2) == 0.0
