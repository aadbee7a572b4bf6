"""Results of benchmarks in the formats that people have: requests, figures, and what is refused."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster_sim.calibration.benchmark import Server, load_benchmarks
from cluster_sim.calibration.case import WHOLE_RUN
from cluster_sim.calibration.result_format import RESULT_FORMATS
from cluster_sim.errors import InputError

SERVER = Server("llama-3.1-8b", "h100-sxm", 1, {})


def figure(measured: dict[Any, float], metric: str) -> float:
    return measured[WHOLE_RUN, metric]


def written(folder: Path, content: Any, name: str = "result.json") -> Path:
    """Return a file with a JSON document, several, or text."""
    path = folder / name
    documents = content if isinstance(content, list) and name.endswith("l") else [content]
    text = content if isinstance(content, str) else "\n".join(json.dumps(each) for each in documents)
    path.write_text(text, encoding="utf-8")
    return path


def detailed(**changes: Any) -> dict[str, Any]:
    """Return a result of vllm bench serve with three requests, one of which failed; times in s, means in ms."""
    record = {
        "num_prompts": 3,
        "completed": 2,
        "request_rate": "inf",
        "duration": 1.0,
        "input_lens": [100, 7, 200],
        "output_lens": [3, 0, 5],
        "ttfts": [0.1, 0.0, 0.3],
        "itls": [[0.02, 0.04], [], [0.1, 0.1, 0.1, 0.1]],
        "start_times": [10.5, 10.2, 10.0],
        "errors": ["", "Timeout", ""],
    }
    return record | changes


def test_entries_with_an_error_are_left_out(tmp_path: Path) -> None:
    """The others are used in the order of their start, and without means the lists give them."""
    found = load_benchmarks(written(tmp_path, detailed()), SERVER)
    (case,) = found.cases
    assert case.requests.prompt_tokens.tolist() == [200, 100]
    assert case.requests.output_tokens.tolist() == [5, 3]
    assert case.requests.arrival_s.tolist() == [0.0, 0.5]
    assert figure(case.measured, "ttft_mean") == pytest.approx(0.2)
    assert figure(case.measured, "tpot_mean") == pytest.approx((0.03 + 0.1) / 2)
    assert found.notes == [f"{tmp_path}/result.json:1: 1 of 3 requests did not succeed and is left out"]


def test_times_that_no_run_spans_are_refused(tmp_path: Path) -> None:
    """Start times of a billion years apart are wrong input, whatever their unit."""
    with pytest.raises(InputError, match=r"result\.json:1: requests are sent over more than two years"):
        load_benchmarks(written(tmp_path, detailed(start_times=[1e20, 10.2, 10.0])), SERVER)


def test_gaps_that_are_only_samples(tmp_path: Path) -> None:
    """A list of fewer gaps than tokens is a sample where the run lasted longer than the gaps add up to."""
    lists = {"input_lens": [10], "output_lens": [101], "ttfts": [0.5], "start_times": [0.0], "errors": [""]}
    whole = detailed(**lists, itls=[[0.2] * 5], duration=1.5)
    assert figure(load_benchmarks(written(tmp_path, whole), SERVER).cases[0].measured, "tpot_mean") == pytest.approx(
        0.01
    )
    sample = detailed(**lists, itls=[[0.2] * 5], duration=20.5)
    assert figure(load_benchmarks(written(tmp_path, sample), SERVER).cases[0].measured, "tpot_mean") == pytest.approx(
        0.2
    )


@pytest.mark.parametrize("separator", ["\n", "", "\n\n"])
def test_appended_results_are_runs_of_one_server(tmp_path: Path, separator: str) -> None:
    """Several objects after each other, on lines of their own or not, are several runs."""
    text = separator.join(json.dumps(detailed(max_concurrency=limit), indent=limit) for limit in (1, 2))
    found = load_benchmarks(written(tmp_path, text), SERVER)
    assert [(case.run, case.in_flight_limit) for case in found.cases] == [("result.json#1", 1), ("result.json#2", 2)]
    assert found.cases[0].fold != found.cases[1].fold


def test_the_model_of_the_file_is_compared(tmp_path: Path) -> None:
    """Another model is said; the same one under its repository's name is not."""
    for stated, is_other in (
        ("example-org/Small-3B", True),
        ("meta-llama/Llama-3.1-8B-Instruct", False),
        ("/models/Llama-3.1-8B", False),
        ("Qwen/Qwen3-8B", True),
    ):
        notes = load_benchmarks(written(tmp_path, detailed(model_id=stated)), SERVER).notes
        assert any(f"model_id: {stated}, and the fit is for llama-3.1-8b" in note for note in notes) is is_other


def test_sglang_lines(shared: Path) -> None:
    """Each line is a run at its rate; random lengths are drawn from their range, and E2E stands in for TPOT."""
    path = shared / "cases" / "files" / "formats" / "sglang-online.jsonl"
    found = load_benchmarks(path, SERVER)
    first = found.cases[0]
    assert len(found.cases) == len(path.read_text(encoding="utf-8").splitlines())
    assert len(first.requests) == 300
    assert figure(first.measured, "e2e_mean") == pytest.approx(7.840616)
    assert figure(first.measured, "ttft_p50") == pytest.approx(0.085745, rel=1e-5)
    longest = int((first.requests.prompt_tokens + first.requests.output_tokens).max())
    assert first.engine == {"kind": "sglang", "max_model_len": longest}
    assert 1 <= first.requests.prompt_tokens.min() <= first.requests.prompt_tokens.max() <= 1024
    assert first.requests.prompt_tokens.mean() == pytest.approx(512.5, rel=0.1)


def test_a_report_of_guidellm(shared: Path) -> None:
    """Each benchmark is a run; without requests the means count, and constant arrivals are even."""
    found = load_benchmarks(shared / "cases" / "files" / "formats" / "guidellm_report_v2.json", SERVER)
    assert len(found.cases) == 2
    case = found.cases[0]
    assert figure(case.measured, "ttft_mean") == pytest.approx(0.011481166)
    assert figure(case.measured, "tpot_mean") == pytest.approx(0.0011508465)
    assert figure(case.measured, "e2e_mean") == pytest.approx(0.0197890997)
    assert case.requests.arrival_s.tolist() == [0.0, 0.5]
    assert case.requests.output_tokens.tolist() == [8, 8]
    assert any("model_id: e2e-mock-model" in note for note in found.notes)


def test_requests_of_guidellm(tmp_path: Path) -> None:
    """Requests count before the means; those that failed are left out."""
    rows = [
        {
            "request_start_time": 5.0 - index,
            "request_latency": 1.0,
            "prompt_tokens": 10,
            "output_tokens": 11,
            "time_to_first_token_ms": 500.0,
        }
        for index in range(2)
    ]
    benchmark = {
        "config": {"strategy": {"type_": "concurrent", "streams": 4}, "backend": {"model": "llama-3.1-8b"}},
        "metrics": {"request_totals": {"successful": 2, "errored": 1, "incomplete": 2}},
        "requests": {"successful": rows, "errored": [], "incomplete": []},
    }
    found = load_benchmarks(written(tmp_path, {"benchmarks": [benchmark]}), SERVER)
    (case,) = found.cases
    assert (case.in_flight_limit, case.requests.arrival_s.tolist()) == (4, [0.0, 1.0])
    assert figure(case.measured, "tpot_mean") == pytest.approx(0.05)
    assert found.notes == [f"{tmp_path}/result.json:1: 3 of 5 requests did not succeed and are left out"]


def aiperf(start_s: float, **changes: Any) -> dict[str, Any]:
    """Return a record of AIPerf."""
    record = {
        "metadata": {"session_num": 0, "request_start_ns": int(start_s * 1e9), "benchmark_phase": "profiling"},
        "metrics": {
            "input_sequence_length": {"value": 50, "unit": "tokens"},
            "output_sequence_length": {"value": 21, "unit": "tokens"},
            "time_to_first_token": {"value": 100.0, "unit": "ms"},
            "request_latency": {"value": 300.0, "unit": "ms"},
        },
        "error": None,
    }
    return record | changes


def test_records_of_aiperf(tmp_path: Path) -> None:
    """All lines are one run; errors and the warm-up are left out."""
    warm = aiperf(0.0)
    warm["metadata"] = {**warm["metadata"], "benchmark_phase": "warmup"}
    lines = [warm, aiperf(1.0), aiperf(3.0, error={"code": 500}, metrics={}), aiperf(2.0)]
    found = load_benchmarks(written(tmp_path, lines, "profile_export.jsonl"), SERVER)
    (case,) = found.cases
    assert case.requests.arrival_s.tolist() == [0.0, 1.0]
    assert figure(case.measured, "tpot_mean") == pytest.approx(0.01)
    assert [note.rpartition(": ")[2] for note in found.notes] == [
        "1 of 3 requests did not succeed and is left out",
        "1 request of the warm-up is left out",
    ]


def test_an_aggregate_of_aiperf(tmp_path: Path) -> None:
    """The load comes from the configuration, the figures from the averages."""
    record = {
        "request_count": {"unit": "requests", "avg": 40.0},
        "request_latency": {"unit": "ms", "avg": 300.0},
        "time_to_first_token": {"unit": "ms", "avg": 100.0},
        "inter_token_latency": {"unit": "ms", "avg": 10.0},
        "input_sequence_length": {"unit": "tokens", "avg": 50.4},
        "output_sequence_length": {"unit": "tokens", "avg": 21.0},
        "input_config": {"loadgen": {"concurrency": 8}},
    }
    (case,) = load_benchmarks(written(tmp_path, record), SERVER).cases
    assert (len(case.requests), case.in_flight_limit, case.requests.prompt_tokens[0]) == (40, 8, 50)
    assert figure(case.measured, "e2e_mean") == pytest.approx(0.3)
    record["time_to_first_token"]["unit"] = "fortnights"  # type: ignore[index]
    with pytest.raises(InputError, match=r"result.json:1: time_to_first_token.unit: must be one of s, sec"):
        load_benchmarks(written(tmp_path, record), SERVER)


def test_requests_of_inference_perf(tmp_path: Path) -> None:
    """Token times give the first token and the last."""
    rows = [
        {
            "start_time": 100.0,
            "end_time": 101.2,
            "info": {"input_tokens": 30, "output_tokens": 3, "output_token_times": [100.2, 100.6, 101.0]},
            "error": None,
        },
        {"start_time": 101.0, "end_time": 101.0, "info": {"input_tokens": 30}, "error": {"error_type": "x"}},
    ]
    found = load_benchmarks(written(tmp_path, rows), SERVER)
    (case,) = found.cases
    assert figure(case.measured, "ttft_mean") == pytest.approx(0.2)
    assert figure(case.measured, "tpot_mean") == pytest.approx(0.4)
    assert found.notes[0].endswith("1 of 2 requests did not succeed and is left out")


def test_a_summary_of_inference_perf(tmp_path: Path) -> None:
    """The rate is the one that was asked for."""
    summary = {
        "load_summary": {"count": 500, "requested_rate": 10.0},
        "successes": {
            "count": 500,
            "latency": {
                "time_to_first_token": {"mean": 0.05},
                "time_per_output_token": {"mean": 0.02},
                "request_latency": {"mean": 1.0},
            },
            "prompt_len": {"mean": 200.0},
            "output_len": {"mean": 48.0},
        },
        "failures": {"count": 0},
    }
    (case,) = load_benchmarks(written(tmp_path, summary), SERVER).cases
    assert case.requests.arrival_s[-1] == pytest.approx(50.0, rel=0.2)
    assert figure(case.measured, "tpot_mean") == pytest.approx(0.02)


def test_a_report_of_llm_d(shared: Path) -> None:
    """The aggregate is one run of the replicas that the report names; another model and degree are said."""
    found = load_benchmarks(shared / "cases" / "files" / "formats" / "br_v0_2_example.yaml", SERVER)
    (case,) = found.cases
    assert (len(case.requests), case.replicas, case.requests.prompt_tokens[0]) == (500, 2, 2262)
    assert figure(case.measured, "ttft_mean") == pytest.approx(0.0368578234)
    assert any("tensor parallel 8, and the fit has 1" in note for note in found.notes)
    assert any("model_id: Qwen/Qwen3-0.6B" in note for note in found.notes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "t.json: is empty"),
        ("{", "t.json:1: not valid JSON"),
        ("[1, 2]", "t.json:1: must hold results of a benchmark; found a list of 1"),
        ({"num_promts": 3, "completed": 3, "request_rate": 1}, "nearest format is vllm_bench, which has mean_ttft_ms"),
        (detailed(output_lens="3"), "t.json:1: output_lens: must be a list; got '3'"),
        (detailed(ttfts=[0.1, "x", 0.3]), r"t.json:1: ttfts: must be a list of numbers \(item 1\); got 'x'"),
        (detailed(itls=[0.1, 0.1, 0.1]), r"t.json:1: itls: must be a list of lists of numbers \(item 2\); got 0.1"),
        (detailed(ttfts=[0.1, 0.2]), "t.json:1: the lists of requests have different lengths: input_lens 3, ttfts 2"),
        (detailed(errors=["a", "b", "c"]), "t.json:1: completed: no request was completed"),
        (detailed(max_concurrency=[3]), r"t.json:1: max_concurrency: must be a number; got \[3\]"),
        (detailed(start_times=[], request_rate="fast"), "t.json:1: request_rate: must be a number; got 'fast'"),
        (
            detailed(start_times=[], request_rate=4, burstiness=-1),
            "t.json:1: burstiness: must be a number above 0; got -1",
        ),
        (
            detailed(start_times=[], request_rate=-1),
            't.json:1: request_rate: must be a number above 0, or "inf"; got -1',
        ),
        (f"{json.dumps(detailed())}\n{json.dumps({'a': 1})}", "t.json:2: is not of the format vllm_bench"),
        ({"benchmarks": []}, "t.json:1: benchmarks: must be a list with at least one benchmark"),
        ({"benchmarks": [{"metrics": {}}]}, "t.json:1: config.strategy: is missing"),
        (aiperf(0.0, metrics={}), "t.json:1: metrics.input_sequence_length: is missing"),
    ],
)
def test_one_thing_wrong(tmp_path: Path, content: Any, message: str) -> None:
    """One message with file, line and key."""
    with pytest.raises(InputError, match=message):
        load_benchmarks(written(tmp_path, content, "t.json"), SERVER)


def test_rows_of_a_table_without_times(tmp_path: Path) -> None:
    """They are of requests that failed; a text in a column of numbers names line and column."""
    head = "arrival_s,input_tokens,output_tokens,ttft_s,e2e_s\n"
    found = load_benchmarks(written(tmp_path, f"{head}2,10,5,0.1,0.5\n1,20,5,,\n0,30,5,0.1,0.5\n", "t.csv"), SERVER)
    assert found.cases[0].requests.prompt_tokens.tolist() == [30, 10]
    assert found.notes == [f"{tmp_path}/t.csv: 1 of 3 requests did not succeed and is left out"]
    with pytest.raises(InputError, match=r"t.csv:3: input_tokens: must be a number of at least 0; got 'many'"):
        load_benchmarks(written(tmp_path, f"{head}2,10,5,0.1,0.5\n1,many,5,1,2\n", "t.csv"), SERVER)


@pytest.mark.parametrize("size", [5, 30, 60])
def test_a_damaged_archive_is_refused(tmp_path: Path, size: int) -> None:
    """A compressed table that was cut off, anywhere, is named."""
    whole = gzip.compress(b"arrival_s,input_tokens,output_tokens,ttft_s,e2e_s\n" + b"0.25,100,10,0.125,0.3\n" * 99)
    (tmp_path / "table.csv.gz").write_bytes(whole[:size])
    with pytest.raises(InputError, match=r"table\.csv\.gz: cannot be read \("):
        load_benchmarks(tmp_path / "table.csv.gz", SERVER)


def test_a_directory_is_refused(tmp_path: Path) -> None:
    """A folder is no result, nor is a file that is not there."""
    with pytest.raises(InputError, match="is a directory"):
        load_benchmarks(tmp_path, SERVER)
    with pytest.raises(InputError, match="no such file"):
        load_benchmarks(tmp_path / "absent.json", SERVER)


@pytest.mark.parametrize("name", RESULT_FORMATS.names())
def test_formats_recognise_their_own_documents_only(name: str, tmp_path: Path) -> None:
    """No two formats claim a document, and each says what it is."""
    samples: list[Any] = [detailed(), {"benchmarks": []}, aiperf(0.0), {"load_summary": {}, "successes": {}}, {}, [], 3]
    samples += [{"results": {"request_performance": {}}}, {"total_output_tokens_retokenized": 1}]
    samples += [{"status": "success", "data": {"resultType": "matrix", "result": []}}]
    claims = np.array(
        [[RESULT_FORMATS.get(each).part().recognises(sample) for sample in samples] for each in RESULT_FORMATS.names()]
    )
    assert claims.sum(axis=0).max() == 1
    assert claims[RESULT_FORMATS.names().index(name)].sum() == 1
    assert RESULT_FORMATS.get(name).summary.endswith(".")
