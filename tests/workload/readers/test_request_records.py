"""Results of benchmarks as workloads: the requests that were served, at their times."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from cluster_sim.errors import InputError

RESULT: dict[str, Any] = {
    "completed": 2,
    "total_input_tokens": 12,
    "input_lens": [5, 6, 7],
    "output_lens": [3, 0, 4],
    "start_times": [100.5, 100.75, 101.0],
    "errors": ["", "refused", ""],
}


def test_results_of_vllm_and_sglang(trace_file: Callable[..., str], rows: Callable[..., Any]) -> None:
    """Requests with an error are left out and counted; times count from the first."""
    path = trace_file(json.dumps(RESULT, indent=1), "bench.json")
    notices: list[str] = []
    block = rows({"kind": "trace", "path": path}, notices=notices)
    assert block.arrival_ns.tolist() == [0, 500_000_000]
    assert (block.prompt_tokens.tolist(), block.output_tokens.tolist()) == ([5, 7], [3, 4])
    assert notices == [
        f"{path}: skipped 1 row: failed requests",
        f"{path}: columns not used: completed, total_input_tokens",
    ]


def test_results_without_times_or_with_another_beside(trace_file: Callable[..., str], rows: Callable[..., Any]) -> None:
    """Without start_times arrivals are needed; of several results one must be chosen."""
    untimed = {key: value for key, value in RESULT.items() if key not in {"start_times", "errors"}}
    lines = f"{json.dumps(untimed)}\n{json.dumps(RESULT)}\n"
    path = trace_file(lines, "bench.jsonl")
    with pytest.raises(InputError, match="line 2: a second result begins here; say which one"):
        rows({"kind": "trace", "path": path})
    assert len(rows({"kind": "trace", "path": path, "format": {"kind": "bench_result", "result": 2}})) == 2
    first = {"kind": "trace", "path": path, "format": {"kind": "bench_result", "result": 1}}
    with pytest.raises(InputError, match=r"no arrival times; give workload\.arrivals"):
        rows(first)
    block = rows({**first, "arrivals": {"kind": "constant", "request_rate": 1}, "zero_tokens": "one"})
    assert block.output_tokens.tolist() == [3, 1, 4]
    with pytest.raises(InputError, match="there is no result 3"):
        rows({"kind": "trace", "path": path, "format": {"kind": "bench_result", "result": 3}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_lens": "5, 6"}, "line 4, field 'input_lens': a text where a list is expected"),
        ({"output_lens": [3, 4]}, "field 'output_lens': 2 entries where input_lens has 3"),
        ({"input_lens": [5, 6, "7"]}, r"field 'input_lens\[2\]': '7' is not a number"),
        ({"start_times": [1.0, 2.0, None]}, r"field 'start_times\[2\]': 'None' is not a number"),
        ({"output_lens": None}, "line 9, field 'output_lens'|field 'output_lens': a null where a list is expected"),
    ],
)
def test_wrong_results(
    trace_file: Callable[..., str], rows: Callable[..., Any], change: dict[str, Any], message: str
) -> None:
    """The message names line, key and entry."""
    with pytest.raises(InputError, match=message):
        rows({"kind": "trace", "path": trace_file(json.dumps({**RESULT, **change}, indent=1), "b.json")})


def test_one_list_alone(trace_file: Callable[..., str], rows: Callable[..., Any]) -> None:
    """A result that lacks one of its lists is told the list."""
    path = trace_file(json.dumps({key: value for key, value in RESULT.items() if key != "output_lens"}), "b.json")
    with pytest.raises(InputError, match="line 1, field 'output_lens': is missing; there are: completed"):
        rows({"kind": "trace", "path": path})


def test_totals_are_no_requests(trace_file: Callable[..., str], rows: Callable[..., Any]) -> None:
    """A result without detail is refused with the option that would have kept it."""
    totals = {key: RESULT[key] for key in ("completed", "total_input_tokens")}
    with pytest.raises(InputError, match=r"'input_lens' is missing: the result has totals alone, .*--save-detailed"):
        rows({"kind": "trace", "path": trace_file(json.dumps(totals), "b.json")})


def record(start_ns: int, prompt: Any, output: Any, **more: Any) -> str:
    metrics = {"input_sequence_length": {"value": prompt}, "output_sequence_length": {"value": output}}
    metadata = {"request_start_ns": start_ns, "conversation_id": "c", "benchmark_phase": "profiling"}
    return json.dumps({"metadata": {**metadata, **more}, "metrics": metrics, "error": None})


def test_records_of_aiperf(trace_file: Callable[..., str], rows: Callable[..., Any]) -> None:
    """One request a line, in order of start; failures and the warm-up are left out."""
    failed = json.dumps({"metadata": {"request_start_ns": 5}, "error": {"code": 500}})
    begin = 1_772_000_000_000_000_000
    warm = record(begin, 1, 1, benchmark_phase="warmup")
    lines = (record(begin + 1500, 9, 4), failed, warm, record(begin + 1000, 7, 5))
    block = rows({"kind": "trace", "path": trace_file("\n".join(lines), "r.jsonl")})
    assert block.arrival_ns.tolist() == [0, 500]
    assert (block.prompt_tokens.tolist(), block.output_tokens.tolist()) == ([7, 9], [5, 4])
    for line, message in (
        (record(5, "many", 4), "line 1, field 'input_sequence_length': 'many' is not a number"),
        ('{"metadata": {"request_start_ns": 5}, "metrics": {}}', "line 1, field 'metrics.input_sequence_length'"),
        ('{"metadata": [1], "metrics": {}, "x": "request_start_ns"}', "field 'metadata': a list where an object"),
    ):
        with pytest.raises(InputError, match=message):
            rows({"kind": "trace", "format": "aiperf_records", "path": trace_file(line, "w.jsonl")})


def test_records_of_inference_perf(trace_file: Callable[..., str], rows: Callable[..., Any]) -> None:
    """A list of requests with counts in their info, or in the metrics of request and response."""
    old = {"start_time": 7.5, "end_time": 9, "info": {"input_tokens": 9, "output_tokens": 4}, "error": None}
    info = {"request_metrics": {"text": {"input_tokens": 6}}, "response_metrics": {"output_tokens": 3}}
    new = {"start_time": 7.0, "end_time": 8, "info": info}
    failed = {**old, "error": {"type": "timeout"}}
    block = rows({"kind": "trace", "path": trace_file(json.dumps([old, new, failed]), "i.json")})
    assert block.arrival_ns.tolist() == [0, 500_000_000]
    assert (block.prompt_tokens.tolist(), block.output_tokens.tolist()) == ([6, 9], [3, 4])
    wrong = [{"start_time": 1, "info": {"input_tokens": 5}}]
    with pytest.raises(InputError, match="item 0, field 'output_tokens': is missing"):
        rows({"kind": "trace", "path": trace_file(json.dumps(wrong), "w.json")})


def test_reports_of_guidellm(trace_file: Callable[..., str], rows: Callable[..., Any]) -> None:
    """One benchmark's successful requests; which one must be said where there are several."""
    requests = [{"request_start_time": 9.0, "prompt_tokens": 5, "output_tokens": 2},
                {"request_start_time": 8.5, "prompt_tokens": 6, "output_tokens": 3}]  # fmt: skip
    full = {"requests": {"successful": requests, "errored": [{}], "incomplete": None}}
    empty = {"requests": {"successful": [], "errored": []}}
    path = trace_file(json.dumps({"metadata": {}, "benchmarks": [full, empty]}, indent=1), "g.json")
    with pytest.raises(InputError, match="the report has 2 benchmarks; say which one"):
        rows({"kind": "trace", "path": path})
    block = rows({"kind": "trace", "path": path, "format": {"kind": "guidellm_report", "benchmark": 1}})
    assert (block.arrival_ns.tolist(), block.prompt_tokens.tolist()) == ([0, 500_000_000], [6, 5])
    with pytest.raises(InputError, match="keeps none of its requests"):
        rows({"kind": "trace", "path": path, "format": {"kind": "guidellm_report", "benchmark": 2}})


def test_batches_of_openai(trace_file: Callable[..., str], rows: Callable[..., Any]) -> None:
    """Lengths are estimated from the texts and taken from the limits, and the run says so."""
    body = {"model": "m", "messages": [{"role": "user", "content": "x" * 10}], "max_completion_tokens": 20}
    request = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
    path = trace_file(json.dumps(request) + "\n", "b.jsonl")
    notices: list[str] = []
    arrivals = {"kind": "constant", "request_rate": 1}
    block = rows({"kind": "trace", "path": path, "arrivals": arrivals}, notices=notices)
    assert (block.prompt_tokens.tolist(), block.output_tokens.tolist()) == ([3], [20])
    assert notices == [
        f"{path}: 1 answer taken to be as long as the limit allows",
        f"{path}: 1 prompt whose tokens were estimated as a quarter of the characters",
        f"{path}: columns not used: body.model",
    ]
    twice = trace_file(f"{json.dumps(request)}\n{json.dumps(request)}\n", "t.jsonl")
    with pytest.raises(InputError, match="line 2, field 'custom_id': 'a' is there twice"):
        rows({"kind": "trace", "path": twice, "arrivals": arrivals})
    endless = {**request, "body": {"prompt": "x"}}
    path = trace_file(json.dumps(endless) + "\n", "e.jsonl")
    with pytest.raises(InputError, match=r"line 1, field 'body': none of max_completion_tokens, .* says how long"):
        rows({"kind": "trace", "path": path, "arrivals": arrivals})
    chosen = {"kind": "openai_batch", "output_tokens": 8}
    assert rows({"kind": "trace", "path": path, "arrivals": arrivals, "format": chosen}).output_tokens.tolist() == [8]
