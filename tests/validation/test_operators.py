"""Predictors from operator profiles beside the measurements."""

import dataclasses
import math

import numpy as np
import pytest

from cluster_sim.calibration.case import Case, Requests
from cluster_sim.calibration.case_run import resolve_case
from cluster_sim.errors import InputError
from cluster_sim.hardware.predictors.collectives import Collectives
from cluster_sim.hardware.predictors.operator_profile import Measurement, OperatorProfile, ProfileInfo
from validation.llmservingsim import BENCH, load_bench
from validation.operators import (
    FOLDER,
    Spread,
    context_spread,
    find_operators,
    named_link,
    operator_predictor,
    stretch_attention,
    unequal_contexts,
)


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
    case = next(case for case in load_bench(folder / BENCH)[0] if "Llama" in case.model)
    predictor = operator_predictor(resolve_case(case), folder / FOLDER, "vllm")
    assert "LLMServingSim" in predictor.label
    other = dataclasses.replace(case, tensor_parallel=4)
    with pytest.raises(InputError, match="no operator profile"):
        operator_predictor(resolve_case(other), folder / FOLDER, "vllm")


def test_contexts_of_running_requests():
    """Prompts of 100 with outputs to 200 stand at 200 on average, spread as evenly from 100 to 300."""
    case = next(iter(load_case([100, 100], [200, 200])))
    mean, variation = context_spread(case)
    assert mean == pytest.approx(200)
    assert variation == pytest.approx(200 / math.sqrt(12) / 200)


def load_case(prompts, outputs):
    """Yield a case of requests of these lengths."""
    table = Requests(np.zeros(len(prompts)), np.array(prompts), np.array(outputs), np.zeros(len(prompts), np.int64))
    yield Case("d", "r", "meta-llama/Llama-3.1-8B", "H100", 1, "w", table, {})


def test_unequal_contexts_stretch_attention_of_decodes_alone(tmp_path):
    """Half of the contexts at 100 and half at 300 have a variation of 0.5: at 0.25 the excess of 10 % is 5 %."""
    info = ProfileInfo(device="h100-sxm", model="llama-3.1-8b", tensor_parallel=1)
    rows = (
        Measurement("attention", 10.0, decodes=4, decode_kv_tokens=100),
        Measurement("attention", 20.0, prefill_tokens=64),
        Measurement("attention", 30.0, prefill_tokens=64, decodes=4),
        Measurement("layer.norm", 1.0, tokens=4),
    )
    assert unequal_contexts(tmp_path, Spread(200.0, 0.25)) == {}
    (tmp_path / "skew.csv").write_text(
        "regime,n,nb,kvs,kv_big,kv_mean,t_mean_us,t_skew_us\n"
        "pure,4,2,100,300,200,50.0,55.0\npure,4,2,1000,3000,2000,50.0,99.0\nmixed,4,2,100,300,200,50.0,49.0\n"
    )
    factors = unequal_contexts(tmp_path, Spread(200.0, 0.25))
    assert factors == {(False, 4): pytest.approx(1.05), (True, 4): 1.0}
    stretched = stretch_attention(OperatorProfile(info, rows), factors)
    assert [row.time_us for row in stretched.rows] == [pytest.approx(10.5), 20.0, 30.0, 1.0]


def test_collectives_take_the_link_that_the_run_names():
    """Without one the data sheet's stands in."""
    case = next(iter(load_case([1], [1])))
    assert named_link(case) is None
    linked = dataclasses.replace(case, link_bytes_per_s=16e9, link_latency_us=20.0)
    assert named_link(linked) == Collectives(20.0, 16e9)
