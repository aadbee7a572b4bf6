"""Output of a whole run, by every way of computing it."""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.small_run import run_small

BUSY = (
    "workload.count=300",
    "workload.arrivals.request_rate=30",
    "workload.lengths={prompt: {kind: uniform, min: 50, max: 1500}, output: {kind: uniform, min: 1, max: 120}}",
    "slo.ttft_p99_s=1.0",
    "run.series_interval_s=0.1",
    "run.warmup={kind: none}",
)


def _run(folder: Path, *overrides: str) -> Path:
    return run_small(folder, *BUSY, *overrides).directory


def _summary(directory: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((directory / "summary.json").read_text())
    return summary


def _series(directory: Path) -> pa.Table:
    return pq.read_table(directory / "series.parquet").sort_by([("replica", "ascending"), ("time_s", "ascending")])


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("fleet.pools.0.pipeline_parallel=2", "fleet.pools.0.engine.num_kv_blocks=null"),
        ("run.end_s=5",),
        ("router.policy=round_robin", "fleet.pools.0.engine.max_num_seqs=4"),
    ],
)
def test_laws_hold_and_files_agree(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    """In every run the laws hold, and rows and series tell what the summary tells."""
    directory = _run(tmp_path, *overrides)
    summary = _summary(directory)
    stages = 2 if "fleet.pools.0.pipeline_parallel=2" in overrides else 1
    # Two steps of each replica may be in flight when a run of fixed length ends: predicted, but no work of the run.
    cut_off = 2 * 2 if "run.end_s=5" in overrides else 0
    assert 0 <= summary["predictor_coverage"]["steps"] - summary["iterations"] * stages <= cut_off * stages
    assert all(check["holds"] for check in summary["checks"].values()), summary["checks"]
    rows = pq.read_table(directory / "requests.parquet")
    finished = rows.filter(pa.compute.equal(rows["status"], "finished"))
    assert len(rows) == summary["requests"]["total"]
    assert len(finished) == summary["requests"]["finished"] == summary["e2e_s"]["count"]
    assert pa.compute.mean(finished["ttft_s"]).as_py() == pytest.approx(summary["ttft_s"]["mean"])
    assert pa.compute.max(finished["tpot_s"]).as_py() == pytest.approx(summary["tpot_s"]["max"], abs=1e-9)
    assert pa.compute.sum(finished["output_tokens"]).as_py() == summary["output_tokens"]
    series = _series(directory)
    # The last tenth of a second has no tick: at most some 20 steps of each replica, of at most some 30 requests.
    steps = summary["iterations"] - pa.compute.sum(series["iterations"]).as_py()
    tokens = summary["checks"]["tokens"]["generated_tokens"] - pa.compute.sum(series["generated_tokens"]).as_py()
    assert 0 <= steps <= 2 * 20 * stages
    assert 0 <= tokens <= 30 * steps
    assert pa.compute.max(series["waiting"]).as_py() == summary["flat"]["max_queue_length"]
    assert pa.compute.max(series["kv_used_ratio"]).as_py() <= 1.0


def test_macro_steps_change_no_output(tmp_path: Path) -> None:
    """Single steps give the same summary, token gaps included, and the same series, under preemption too."""
    macro, single = _run(tmp_path), _run(tmp_path, "run.macro_steps=false")
    assert _summary(macro)["preemptions"] > 0
    assert _summary(macro) == _summary(single)
    assert _series(macro).equals(_series(single))


def _keys(content: Any) -> set[str]:
    """Return every key at any depth."""
    if isinstance(content, dict):
        return {key for name, value in content.items() for key in (name, *_keys(value))}
    return {key for item in content for key in _keys(item)} if isinstance(content, list) else set()


def test_every_key_is_documented(tmp_path: Path) -> None:
    """docs/results.md names every key of summary.json and manifest.json, and every column of both tables."""
    directory = _run(
        tmp_path,
        "workload.max_concurrency=40",
        "router.client_timeout_s=0.5",
        "fleet.pools.0.engine.enable_prefix_caching=true",
    )
    page = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8").replace("```", "")
    named = {word for code in re.findall(r"`([^`]+)`", page) for word in re.findall(r"\w+", code)}
    summary, manifest = _summary(directory), json.loads((directory / "manifest.json").read_text())
    assert summary["requests"]["cancelled"]
    columns = [pq.read_schema(directory / name).names for name in ("requests.parquet", "series.parquet")]
    assert _keys(summary) | _keys(manifest) | set().union(*columns) <= named


_STATE = "{request_rate: 30, mean_stay_s: 1}"


@pytest.mark.parametrize(
    ("overrides", "load"),
    [
        ((), (30, 1.0, None)),
        (
            ("workload.arrivals={kind: gamma, request_rate: 8, burstiness: 0.5}", "workload.max_concurrency=9"),
            (8, 0.5, 9),
        ),
        ((f"workload.arrivals={{kind: mmpp, states: [{_STATE}, {_STATE}]}}",), ("inf", 1.0, None)),
    ],
)
def test_bench_json_names_the_load(tmp_path: Path, overrides: tuple[str, ...], load: tuple[Any, ...]) -> None:
    """Rate, burstiness and concurrency are those that the study names."""
    record = json.loads((_run(tmp_path, *overrides) / "bench.json").read_text())
    assert (record["request_rate"], record["burstiness"], record["max_concurrency"]) == load
