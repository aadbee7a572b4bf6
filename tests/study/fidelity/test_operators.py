"""Predictors from operator profiles beside the measurements."""

import dataclasses

import pytest

from cluster_sim.config.errors import InputError
from cluster_sim.study.fidelity.llmservingsim import BENCH, load_bench
from cluster_sim.study.fidelity.operators import FOLDER, find_operators, operator_predictor
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
