"""Loaders of the data sets: names, stages, folds, and bad input."""

import json

import numpy as np
import pytest

from cluster_sim.calibration.benchmark import Server, load_benchmarks
from cluster_sim.calibration.case import WHOLE_RUN
from cluster_sim.calibration.library_match import canonical, match_device, match_model
from cluster_sim.errors import InputError
from validation.blis import generate, workload_name
from validation.ground_truth import load_all
from validation.llmservingsim import load_workload

SERVER = Server("llama-3.1-8b", "h100-sxm", 1, {})


@pytest.fixture(scope="module")
def loaded(shared):
    return load_all(shared / "ground-truth")


def test_every_run_of_part_a_loads(loaded):
    """No run is skipped; two have a replica that computes prompts for another one."""
    cases, skipped = loaded
    assert len(cases) >= 60
    assert skipped == []
    assert [case.run for case in cases if case.prefill_replicas] == ["fig8_PDD", "fig5_H100_PDD"]


def test_twins_share_a_fold_and_their_requests(loaded):
    """Aggregates of a run that is given by its requests too are recognised: four of them."""
    cases, _ = loaded
    by_fold = {}
    for case in cases:
        if case.dataset.startswith("blis"):
            by_fold.setdefault(case.fold, []).append(case)
    twins = [runs for runs in by_fold.values() if len(runs) == 2]
    assert len(twins) == 4
    assert all(first.requests is second.requests for first, second in twins)


def test_prompts_cycle_and_failed_requests_have_lengths(loaded):
    """Prompt ids are the index modulo 100, and no prompt is empty, also where the client gave up."""
    cases, _ = loaded
    for case in cases:
        if case.dataset == "blis-vllm015-h100-requests":
            assert case.requests.prompt_ids is not None
            assert set(case.requests.prompt_ids.tolist()) == set(range(100))
            assert case.requests.prompt_tokens.min() > 100


def test_overload_is_told_from_load(loaded):
    """The two deep overloads of part A are marked, nothing else."""
    cases, _ = loaded
    marked = {case.run for case in cases if case.is_overloaded}
    assert marked == {"20260217-170634-llama-2-7b-tp1-reasoning", "20260218-135247-mixtral-8x7b-v0-1-tp2-reasoning"}


def test_time_per_token_is_not_the_published_gap(loaded):
    """TPOT of aggregates comes from E2E and TTFT."""
    cases, _ = loaded
    case = next(case for case in cases if case.run == "eval38/14-qwen3-14b-tp1-codegen-1")
    measured = case.measured
    expected = (measured[WHOLE_RUN, "e2e_mean"] - measured[WHOLE_RUN, "ttft_mean"]) / 246
    assert measured[WHOLE_RUN, "tpot_mean"] == pytest.approx(expected)
    assert not any(metric.startswith("itl") for _, metric in measured)


def test_an_empty_folder_is_refused(tmp_path):
    """A folder without a known data set is an error that names what is looked for."""
    with pytest.raises(InputError, match="blis-vllm015-aggregates"):
        load_all(tmp_path)


def test_a_broken_data_set_is_skipped_with_its_reason(tmp_path):
    """A data set with missing columns does not stop the others."""
    folder = tmp_path / "apex-vllm060-8xh100"
    folder.mkdir()
    (folder / "measured.csv").write_text("a,b\n1,2\n")
    cases, skipped = load_all(tmp_path)
    assert not cases
    assert "columns missing" in skipped[0].reason


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("meta-llama/Llama-2-7b-hf", "llama-2-7b"),
        ("codellama/CodeLlama-34b-Instruct-hf", "codellama-34b"),
        ("meta-llama/Meta-Llama-3.1-70B", "llama-3.1-70b"),
        ("Qwen/Qwen3-30B-A3B-Instruct-2507", "qwen3-30b-a3b"),
        ("mistralai/Mixtral-8x22B-Instruct-v0.1", "mixtral-8x22b"),
        ("meta-llama/Llama-3.3-70B-Instruct", "llama-3.1-70b"),
        ("01-ai/Yi-34B", "yi-34b"),
    ],
)
def test_models_are_found_by_repository(name, expected):
    """Suffixes of a repository do not matter, architectures do."""
    assert match_model(name).name == expected


def test_quantised_variants_are_derived():
    """A quantised repository of a known model has its projections in fp8."""
    assert match_model("mistralai/Mistral-Large-Instruct-2407 (fp8)").weight_dtype == "fp8"
    assert match_model("mistralai/Mixtral-8x7B-v0.1", "fp8").weight_dtype == "fp8"
    assert match_model("mistralai/Mixtral-8x7B-v0.1").weight_dtype is None


def test_devices_are_found_by_what_drivers_say():
    """Names of drivers and of data sets mean the library's entries."""
    assert match_device("NVIDIA H100 80GB HBM3 SXM").name == "h100-sxm"
    assert match_device("A100-80GB").name == "a100-80gb"
    assert match_device("RTXPRO6000").name == "rtx-pro-6000"
    assert match_device("b200_sxm").name == "b200"
    assert canonical("Qwen/Qwen3-14B") == "qwen3-14b"


def test_labels_of_workloads_repeat_a_suffix():
    """Labels such as general-lite-lite mean the workload general-lite."""
    known = {"general": 1, "general-lite": 1, "reasoning": 1}
    assert workload_name("general-lite-lite", known) == "general-lite"
    assert workload_name("general-lite", known) == "general-lite"
    assert workload_name("reasoning-lite", known) == "reasoning"
    assert workload_name("reasoning", known) == "reasoning"


def test_generated_load_has_the_stages_rates():
    """Each stage has rate x duration requests within its time, and prompts repeat after 100."""
    stage = {"system_prompt_len": "100", "question_len": "400", "output_len": "7"}
    stages = [
        {"stage": "0", "rate_rps": "5", "duration_s": "60", **stage},
        {"stage": "1", "rate_rps": "10", "duration_s": "30", **stage},
    ]
    table = generate(stages, 1)
    assert np.bincount(table.stage).tolist() == [300, 300]
    assert table.arrival_s[:300].max() <= 60 <= table.arrival_s[300:].min()
    assert (table.prompt_tokens[:100] == table.prompt_tokens[100:200]).all()
    assert (generate(stages, 1).arrival_s == table.arrival_s).all()


def test_block_hashes_become_segments(tmp_path):
    """Every hash stands for 16 tokens."""
    path = tmp_path / "w.jsonl"
    path.write_text(
        json.dumps({"arrival_time_ns": 1_000, "input_tokens": 33, "output_tokens": 2, "block16_hashes": [5, 6]}) + "\n"
    )
    table = load_workload(path)
    assert table.segments == (((5, 16), (6, 16)),)
    assert table.arrival_s.tolist() == [1e-6]


def bench_record(**changes):
    record = {
        "num_prompts": 4,
        "completed": 4,
        "request_rate": 2.0,
        "total_input_tokens": 400,
        "total_output_tokens": 80,
        "mean_ttft_ms": 50.0,
        "mean_tpot_ms": 10.0,
    }
    return record | changes


def test_benchmarks_give_lengths_and_means(tmp_path):
    """The JSON of vllm bench serve becomes a case: mean lengths, arrivals at its rate, seconds."""
    path = tmp_path / "b.json"
    count = 4000
    totals = {"total_input_tokens": 100 * count, "total_output_tokens": 20 * count}
    path.write_text(json.dumps(bench_record(max_concurrency=8, num_prompts=count, completed=count, **totals)))
    (case,) = load_benchmarks(path, SERVER).cases
    assert case.requests.prompt_tokens.tolist() == [100] * count
    assert case.requests.output_tokens.tolist() == [20] * count
    assert case.measured == {(WHOLE_RUN, "ttft_mean"): 0.05, (WHOLE_RUN, "tpot_mean"): 0.01}
    assert case.in_flight_limit == 8
    assert case.requests.arrival_s[0] == 0
    assert (np.diff(case.requests.arrival_s) >= 0).all()
    assert case.requests.arrival_s[-1] == pytest.approx(count / 2.0, rel=0.05)


def test_benchmarks_without_figures_are_refused(tmp_path):
    """Missing figures and wrong units are named."""
    path = tmp_path / "b.json"
    for record, message in (
        ({"hello": 1}, "not a benchmark result that is known: its keys are hello"),
        (bench_record(mean_ttft_ms=None), "mean_ttft_ms"),
        (bench_record(mean_ttft_ms=5e9), "unit"),
        (bench_record(total_input_tokens=None, completed=0, num_prompts=0), "completed"),
    ):
        path.write_text(json.dumps(record))
        with pytest.raises(InputError, match=message):
            load_benchmarks(path, SERVER)


def test_tables_with_impossible_times_are_refused(tmp_path):
    """An end before the first token names the row."""
    path = tmp_path / "t.csv"
    path.write_text("arrival_s,input_tokens,output_tokens,ttft_s,e2e_s\n0,10,5,0.5,0.1\n")
    with pytest.raises(InputError, match="row 2"):
        load_benchmarks(path, SERVER)
