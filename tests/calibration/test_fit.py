"""Fits: they find what made the data, respect priors, and write calibrations that load."""

import math
from dataclasses import replace

import numpy as np
import pytest

from cluster_sim.calibration.benchmark import Server
from cluster_sim.calibration.case import Case, Requests
from cluster_sim.calibration.case_run import resolve_case, run_case
from cluster_sim.calibration.fit import CalibrationFit, Parameter, prepare, shorten
from cluster_sim.calibration.latency_figures import figures
from cluster_sim.calibration.refit import faults_of_fit, refit
from cluster_sim.errors import InputError
from cluster_sim.hardware.device import load_device
from cluster_sim.hardware.predictors.calibration_file import (
    load_calibration,
    load_operator_ratios,
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
    resolved = resolve_case(case)
    _, coefficients = resolve_coefficients("vllm", resolved.hardware.device, "0.15")
    return run_case(resolved, PhysicalPredictor(coefficients.model_copy(update=changes), resolved.hardware))


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
    calibration = load_calibration("vllm")
    base = calibration.model_copy(update={"coefficients": calibration.coefficients | {"step_us": 1000.0}})
    fit = CalibrationFit(prepare([case]), [Parameter("step_us", 1000.0, 2.0)], base)
    position = fit.fit(rounds=3)
    assert fit.calibration(position).coefficients["step_us"] == pytest.approx(3000.0, rel=0.05)


def test_what_the_data_cannot_say_stays_at_its_prior():
    """All-reduce coefficients do not move on one GPU."""
    case, _ = measured_case()
    fit = CalibrationFit(prepare([case]), [Parameter("all_reduce_us", 7.0, 0.5)], load_calibration("vllm"))
    assert fit.fit(rounds=1).tolist() == [0.0]


def test_scoped_parameters_override_one_version():
    """A parameter of a version lands in the calibration's versions and nowhere else."""
    case, _ = measured_case()
    calibration = load_calibration("vllm")
    fit = CalibrationFit(prepare([case]), [Parameter("frontend_us", 4000.0, 0.5, "version:0.99")], calibration)
    moved = fit.calibration(np.array([math.log(2.0)]))
    assert moved.versions["0.99"] == {"frontend_us": pytest.approx(8000.0)}
    assert moved.coefficients == calibration.coefficients


def test_parameters_of_a_device_are_relative_to_what_operators_carry_over():
    """Twice the cache rate that H100's coefficient comes to on L40S lands in the calibration's devices."""
    case, _ = measured_case()
    calibration, operators = load_calibration("vllm"), load_operator_ratios("operator-ratios")
    parameters = [Parameter("kv_memory_ratio", 0.9, 0.1), Parameter("kv_memory_ratio", 1.0, 0.5, "device:l40s")]
    fit = CalibrationFit(prepare([case]), parameters, calibration, operators)
    moved = fit.calibration(np.array([0.0, math.log(2.0)]))
    here, there = (operators.devices[name]["vllm"]["kv_memory_ratio"] for name in ("l40s", "h100-sxm"))
    assert moved.coefficients["kv_memory_ratio"] == pytest.approx(0.9)
    assert moved.devices["l40s"]["kv_memory_ratio"] == pytest.approx(2 * 0.9 * here / there)


def test_short_copies_keep_every_stage():
    """Of two stages of 1,000 requests at 10 a second the first 40 s are kept, the second right behind the first; of
    one at 1 a second, 300 requests.
    """
    arrivals = np.arange(2000) / 10.0
    stage = np.repeat([0, 1], 1000)
    requests = Requests(arrivals, np.arange(2000), np.full(2000, 40), stage)
    short = shorten(replace(make_case(), requests=requests), 40.0).requests
    assert np.bincount(short.stage).tolist() == [401, 401]
    assert short.prompt_tokens.tolist() == [*range(401), *range(1000, 1401)]
    assert short.arrival_s == pytest.approx(np.concatenate([arrivals[:401], 40.0 + arrivals[:401]]))
    sparse = Requests(np.arange(1000.0), np.arange(1000), np.full(1000, 40), np.zeros(1000, np.int64))
    assert len(shorten(replace(make_case(), requests=sparse), 40.0).requests) == 300


def test_nothing_to_fit_is_an_input_error():
    """Without a usable run there is a message, not an empty fit."""
    with pytest.raises(InputError, match="nothing to fit"):
        prepare([])


def write_table(path, result, case):
    table = case.requests
    lines = ["arrival_s,input_tokens,output_tokens,ttft_s,e2e_s"]
    columns = (table.arrival_s, table.prompt_tokens, table.output_tokens, result.ttft_s, result.e2e_s)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    lines += [",".join(str(value) for value in row) for row in rows]
    path.write_text("\n".join(lines) + "\n")


def test_refit_writes_a_calibration_that_studies_can_name(tmp_path):
    """A server with slow memory gives a profile that says so, less the pull of its prior, and that names its source."""
    case, result = measured_case(gemm_memory_ratio=0.5)
    write_table(tmp_path / "run.csv", result, case)
    out = tmp_path / "mine.yaml"
    lines = refit([tmp_path / "run.csv"], SERVER, "vllm", ("gemm_memory_ratio",), out, "cluster-sim calibrate run.csv")
    calibration, coefficients = resolve_coefficients(str(out), load_device("h100-sxm"), "0.15")
    assert coefficients.gemm_memory_ratio == pytest.approx(0.5, rel=0.15)
    assert calibration.provenance.data == "run.csv"
    assert calibration.provenance.command == "cluster-sim calibrate run.csv"
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
def test_frozen_calibrations_load_and_name_their_source(name):
    """Every frozen file gives physical coefficients and says what data and command made it."""
    calibration, coefficients = resolve_coefficients(name, load_device("h100-sxm"), "0.15")
    assert calibration.provenance.data
    assert calibration.provenance.command.startswith("python scripts/fit_profiles.py")
    ratios = [value for field, value in coefficients.model_dump().items() if field.endswith("memory_ratio")]
    assert all(0.2 < value <= 1.1 for value in ratios)


def test_every_measure_that_is_fitted_has_the_limit():
    """Above 30 % TPOT, TTFT and E2E are faults, a median of first tokens only where no mean is known."""
    names, values = (
        ("step_us", "gemm_flops_ratio", "attention_flops_ratio"),
        dict.fromkeys(("step_us", "gemm_flops_ratio", "attention_flops_ratio"), 0.5),
    )
    faults = faults_of_fit(names, values, values, {"e2e": 31.0, "tpot": 30.0, "ttft": 131.2, "ttft_p50": 50.0})
    assert faults == ["the error of e2e is 31.0 %: more than 30 %", "the error of ttft is 131.2 %: more than 30 %"]
    assert faults_of_fit(names, values, values, {"ttft_p50": 50.0}) == [
        "the error of ttft_p50 is 50.0 %: more than 30 %"
    ]
