"""Calibration: it finds what made the data, respects priors, and writes profiles that load."""

import math

import numpy as np
import pytest

from cluster_sim.calibration.benchmark import Server
from cluster_sim.calibration.case import Case, Requests
from cluster_sim.calibration.fit import Calibration, Parameter, prepare, shorten
from cluster_sim.calibration.measure import figures
from cluster_sim.calibration.refit import refit
from cluster_sim.calibration.replay import replay, set_up
from cluster_sim.errors import InputError
from cluster_sim.hardware.device import load_device
from cluster_sim.hardware.predictors.calibration import (
    load_operator_ratios,
    load_physical_profile,
    resolve_coefficients,
)
from cluster_sim.hardware.predictors.kinds.physical import PhysicalPredictor

SERVER = Server("llama-3.1-8b", "h100-sxm", 1, {"version": "0.15"})


def make_case(run="r", stages=1):
    rng = np.random.default_rng(1)
    count = 120 * stages
    arrivals = np.sort(rng.uniform(0, 30.0 * stages, count))
    stage = (arrivals // 30.0).astype(np.int64)
    requests = Requests(arrivals, np.full(count, 200), np.full(count, 40), stage)
    return Case("d", run, "meta-llama/Llama-3.1-8B", "H100", 1, run, requests, {"version": "0.15"})


def simulate(case, **changes):
    setup = set_up(case)
    _, coefficients = resolve_coefficients("vllm", setup.hardware.device, "0.15")
    predictor = PhysicalPredictor(coefficients.model_copy(update=changes), setup.hardware)
    return replay(case, setup, predictor)


def measured_case(**changes):
    case = make_case()
    result = simulate(case, **changes)
    table = case.requests
    found = figures(result.ttft_s, result.e2e_s, result.sent_s, table.output_tokens, table.stage)
    fields = {name: getattr(case, name) for name in case.__slots__} | {"measured": found}
    return Case(**fields), result


def test_a_fit_finds_the_coefficient_that_made_the_data():
    """Latencies simulated with steps 3 ms longer lead back to that constant, within a few percent."""
    case, _ = measured_case(step_us=3000.0)
    profile = load_physical_profile("vllm")
    base = profile.model_copy(update={"coefficients": profile.coefficients | {"step_us": 1000.0}})
    calibration = Calibration(prepare([case]), [Parameter("step_us", 1000.0, 2.0)], base)
    position = calibration.fit(rounds=3)
    assert calibration.profile(position).coefficients["step_us"] == pytest.approx(3000.0, rel=0.05)


def test_what_the_data_cannot_say_stays_at_its_prior():
    """All-reduce coefficients do not move on one GPU."""
    case, _ = measured_case()
    calibration = Calibration(prepare([case]), [Parameter("all_reduce_us", 7.0, 0.5)], load_physical_profile("vllm"))
    assert calibration.fit(rounds=1).tolist() == [0.0]


def test_scoped_parameters_override_one_version():
    """A parameter of a version lands in the profile's versions and nowhere else."""
    case, _ = measured_case()
    profile = load_physical_profile("vllm")
    calibration = Calibration(prepare([case]), [Parameter("frontend_us", 4000.0, 0.5, "version:0.99")], profile)
    moved = calibration.profile(np.array([math.log(2.0)]))
    assert moved.versions["0.99"] == {"frontend_us": pytest.approx(8000.0)}
    assert moved.coefficients == profile.coefficients


def test_parameters_of_a_device_are_relative_to_what_operators_carry_over():
    """Twice the cache rate that H100's coefficient comes to on L40S lands in the profile's devices."""
    case, _ = measured_case()
    profile, operators = load_physical_profile("vllm"), load_operator_ratios("operator-ratios")
    parameters = [Parameter("kv_memory_ratio", 0.9, 0.1), Parameter("kv_memory_ratio", 1.0, 0.5, "device:l40s")]
    calibration = Calibration(prepare([case]), parameters, profile, operators)
    moved = calibration.profile(np.array([0.0, math.log(2.0)]))
    here, there = (operators.devices[name]["vllm"]["kv_memory_ratio"] for name in ("l40s", "h100-sxm"))
    assert moved.coefficients["kv_memory_ratio"] == pytest.approx(0.9)
    assert moved.devices["l40s"]["kv_memory_ratio"] == pytest.approx(2 * 0.9 * here / there)


def test_short_copies_keep_every_stage():
    """A short copy has the beginning of each stage, in order, without a gap."""
    case = make_case(stages=2)
    short = shorten(case, 10.0).requests
    assert set(short.stage.tolist()) == {0, 1}
    assert (np.diff(short.arrival_s) >= 0).all()
    assert len(short) <= len(case.requests)


def test_nothing_to_fit_is_an_input_error():
    """Without a usable run there is a message, not an empty fit."""
    with pytest.raises(InputError, match="nothing to fit"):
        prepare([])


def write_table(path, result, case):
    table = case.requests
    lines = ["arrival_s,input_tokens,output_tokens,ttft_s,e2e_s"]
    columns = (table.arrival_s, table.prompt_tokens, table.output_tokens, result.ttft_s, result.e2e_s)
    lines += [
        ",".join(str(value) for value in row) for row in zip(*(column.tolist() for column in columns), strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")


def test_refit_writes_a_profile_that_studies_can_name(tmp_path):
    """A server with slow memory gives a profile that says so, less the pull of its prior, and that names its source."""
    case, result = measured_case(gemm_memory_ratio=0.5)
    write_table(tmp_path / "run.csv", result, case)
    out = tmp_path / "mine.yaml"
    lines = refit([tmp_path / "run.csv"], SERVER, "vllm", ("gemm_memory_ratio",), out, "cluster-sim calibrate run.csv")
    profile, coefficients = resolve_coefficients(str(out), load_device("h100-sxm"), "0.15")
    assert coefficients.gemm_memory_ratio == pytest.approx(0.5, rel=0.15)
    assert profile.provenance.data == "run.csv"
    assert profile.provenance.command == "cluster-sim calibrate run.csv"
    assert any("wrote" in line for line in lines)
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".partial"] == []


def test_refit_refuses_unknown_coefficients(tmp_path):
    """A misspelt coefficient lists the known ones and leaves nothing behind."""
    case, result = measured_case()
    write_table(tmp_path / "run.csv", result, case)
    with pytest.raises(InputError, match="unknown coefficients speed"):
        refit([tmp_path / "run.csv"], SERVER, "vllm", ("speed",), tmp_path / "mine.yaml", "")
    assert not (tmp_path / "mine.yaml").exists()


@pytest.mark.parametrize("name", ["vllm", "vllm-0.6"])
def test_frozen_profiles_load_and_name_their_source(name):
    """Every frozen file gives physical coefficients and says what data and command made it."""
    profile, coefficients = resolve_coefficients(name, load_device("h100-sxm"), "0.15")
    assert profile.provenance.data
    assert profile.provenance.command.startswith("python scripts/fit_profiles.py")
    ratios = [value for field, value in coefficients.model_dump().items() if field.endswith("memory_ratio")]
    assert all(0.2 < value <= 1.1 for value in ratios)
