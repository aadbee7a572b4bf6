"""A window of a live server's histograms as a run to calibrate from."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster_sim.calibration.benchmark import Server, load_benchmarks
from cluster_sim.calibration.case import WHOLE_RUN
from cluster_sim.calibration.refit import refit
from cluster_sim.errors import InputError

SERVER = Server("llama-3.1-8b", "h100-sxm", 1, {})
EACH: dict[str, tuple[float, float]] = {
    "time_to_first_token_seconds": (0.05, 1.0),
    "request_time_per_output_token_seconds": (0.02, 1.0),
    "inter_token_latency_seconds": (0.9, 50.0),
    "e2e_request_latency_seconds": (1.03, 1.0),
    "request_prompt_tokens": (400.0, 1.0),
    "request_generation_tokens": (50.0, 1.0),
}
"""What a request adds to sum and count."""


def answer(requests: int = 30, samples: int = 13, engines: int = 1, model: str = "meta-llama/Llama-3.1-8B") -> Any:
    """Return an answer with a sample every 10 s, between two of which each engine serves ``requests`` requests."""
    result = []
    for engine in range(engines):
        for name, parts in EACH.items():
            for suffix, part in zip(("sum", "count"), parts, strict=True):
                labels = {"__name__": f"vllm:{name}_{suffix}", "engine": str(engine), "model_name": model}
                values = [[1000.0 + 10 * n, f"{7 + part * requests * n}"] for n in range(samples)]
                result.append({"metric": labels, "values": values})
        bucket = {"__name__": "vllm:time_to_first_token_seconds_bucket", "le": "0.1", "engine": str(engine)}
        result.append({"metric": bucket, "values": [[1000.0, "3"], [1010.0, "4"]]})
    return {"status": "success", "data": {"resultType": "matrix", "result": result}}


def load(tmp_path: Path, *documents: Any) -> Any:
    """Return what is read of a file with answers after each other."""
    path = tmp_path / "window.json"
    path.write_text("\n".join(json.dumps(document) for document in documents), encoding="utf-8")
    return load_benchmarks(path, SERVER)


def test_differences_of_counters_are_the_run(tmp_path: Path) -> None:
    """Twelve intervals of 30 requests: 360 arrivals at some 3 a second, mean lengths, and the means of the window."""
    loaded = load(tmp_path, answer())
    (case,) = loaded.cases
    assert len(case.requests) == 360
    assert case.requests.prompt_tokens.tolist() == [400] * 360
    assert case.requests.output_tokens.tolist() == [50] * 360
    assert np.bincount((case.requests.arrival_s / 20).astype(int)).min() >= 55
    expected = {"ttft_mean": 0.05, "tpot_mean": 0.02, "e2e_mean": 1.03}
    assert case.measured == {(WHOLE_RUN, name): pytest.approx(value) for name, value in expected.items()}
    assert "every request has the mean lengths" in loaded.notes[0]


def test_engines_and_answers_are_added_up(tmp_path: Path) -> None:
    """Two data-parallel engines count twice, and an answer for each series is as good as one for all."""
    whole = answer(engines=2)
    parts = [
        {"status": "success", "data": {"resultType": "matrix", "result": [entry]}} for entry in whole["data"]["result"]
    ]
    for documents in ([whole], parts):
        (case,) = load(tmp_path, *documents).cases
        assert len(case.requests) == 720
        assert case.measured[WHOLE_RUN, "ttft_mean"] == pytest.approx(0.05)


def changed(change: str) -> Any:
    """Return an answer with one thing wrong."""
    document = answer()
    result = document["data"]["result"]
    if change == "reset":
        result[1]["values"][6][1] = "1"
    elif change == "clock":
        result[1]["values"][6][0] = 1000.0
    elif change in {"NaN", "+Inf"}:
        result[1]["values"][6][1] = change
    elif change == "NaN clock":
        result[1]["values"][6][0] = "NaN"
    elif change == "no data":
        document["data"] = None
    elif change == "gap":
        for entry in result:
            del entry["values"][3:8]
    elif change == "vector":
        document["data"]["resultType"] = "vector"
    elif change == "rate":
        del result[0]["metric"]["__name__"]
    elif change == "models":
        result[1]["metric"]["model_name"] = "another"
    elif change == "steps":
        document["data"]["result"] = [
            entry
            for entry in result
            if "token" in entry["metric"]["__name__"]
            and "per_output" not in entry["metric"]["__name__"]
            and "inter_token" not in entry["metric"]["__name__"]
        ]
    return document


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (answer(requests=2), r"24 requests in 120 s are too few"),
        (answer(samples=4), r"the window has 30 s; export at least 60 s"),
        (changed("reset"), r"window.json:1: result 1: the counter falls from 157 to 1 at 1060: the server was restart"),
        (changed("clock"), r"result 1: times go back at 1000"),
        (changed("NaN"), r"data.result: must be pairs of finite time and value \(result 1\)"),
        (changed("+Inf"), r"data.result: must be pairs of finite time and value \(result 1\)"),
        (changed("NaN clock"), r"data.result: must be pairs of finite time and value \(result 1\)"),
        (changed("no data"), r"not a benchmark result that is known: its keys are data, status\. Known: "),
        (answer(requests=10**6), r"1\.2e\+07 requests are more than .* at most 10,000,000"),
        (changed("gap"), r"no samples for 60 s after 1020, with one every 10 s elsewhere"),
        (changed("vector"), r"data.resultType: must be \"matrix\""),
        (changed("rate"), r"data.result\[0\].metric.__name__: is missing; query the series themselves"),
        (changed("models"), r"series of several models \(another, meta-llama/Llama-3.1-8B\)"),
        (changed("steps"), r"no time of steps is in the export"),
    ],
)
def test_what_is_no_window_of_one_server_is_refused(tmp_path: Path, document: Any, message: str) -> None:
    """Too little, restarts, holes, clocks that go back, rates, and several models are named with what to do."""
    with pytest.raises(InputError, match=message):
        load(tmp_path, document)


def test_one_command_makes_a_profile_of_a_window(tmp_path: Path) -> None:
    """Coefficients, residuals and the band are said; so is that one load and one length tell little."""
    path, out = tmp_path / "window.json", tmp_path / "mine.yaml"
    document = answer()
    for entry in document["data"]["result"]:
        if "per_output" in entry["metric"]["__name__"] and entry["metric"]["__name__"].endswith("sum"):
            entry["values"] = [[time, str(7 + 0.0071 * 30 * n)] for n, (time, _) in enumerate(entry["values"])]
        if "e2e" in entry["metric"]["__name__"] and entry["metric"]["__name__"].endswith("sum"):
            entry["values"] = [[time, str(7 + 0.398 * 30 * n)] for n, (time, _) in enumerate(entry["values"])]
    path.write_text(json.dumps(document), encoding="utf-8")
    lines = refit([path], SERVER, "vllm", ("step_us", "frontend_us"), out, "calibrate window.json", is_forced=True)
    text = "\n".join(lines)
    assert "step_us: " in text
    assert "error (fitted, one run cannot be left out)" in text
    assert "band (seen, means): e2e " in text
    assert "one load and one length were measured" in text
    assert out.is_file()
