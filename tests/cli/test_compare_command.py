"""The ``compare`` command: runs, sweeps and a benchmark as files, its table, its JSON, and what it refuses."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cluster_sim.config.loading.load import load_study
from cluster_sim.simulation.run import run_study
from cluster_sim.simulation.run_options import RunOptions
from cluster_sim.study.sweep_table import write_rows
from tests.cli.command import Command

STUDY = """\
name: small
seed: 3
workload: {kind: synthetic, count: 400, arrivals: {kind: poisson, request_rate: 5},
  lengths: {prompt: {kind: exponential, mean: 1000, min: 1, max: 7000}, output: {kind: uniform, min: 2, max: 20}}}
fleet: {pools: [{model: llama-3-8b, device: h100-sxm, replicas: 2, engine: {kind: vllm_v1}}]}
predictor: {kind: linear, alpha_us: 8000, beta_us: 60}
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs: slow is fast with longer steps, other has other requests."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "study.yaml").write_text(STUDY)
    for name, changes in (("fast", []), ("slow", ["predictor.beta_us=90"]), ("other", ["seed=4"])):
        run_study(load_study(folder / "study.yaml", changes), RunOptions(executor="inline", out=folder / name))
    return folder


def compared(command: Command, *arguments: str | Path) -> dict[str, Any]:
    code, text, error = command("compare", *arguments, "--json")
    assert (code, error) == (0, "")
    content: dict[str, Any] = json.loads(text)
    return content


def test_two_runs(command: Command, runs: Path) -> None:
    """Longer steps make later first tokens, certainly; in the table as in the JSON."""
    content = compared(command, runs / "fast", runs / "slow")
    assert (content["kind"], content["is_paired"], content["notes"]) == ("runs", True, [])
    found = {row["figure"]: row for row in content["groups"][0]["differences"]}
    mean = found["ttft_mean_s"]
    assert mean["finding"] == "different"
    assert 0 < mean["difference_low"] < mean["difference"] < mean["difference_high"]
    assert found["lost_ratio"]["finding"] == "equal"
    assert found["cost_usd"]["difference_low"] is None
    code, text, _ = command("compare", runs / "fast", runs / "slow")
    assert code == 0
    assert "ttft_mean_s" in text
    assert "compared in pairs" in text
    independent = compared(command, runs / "fast", runs / "other")
    assert not independent["is_paired"]
    assert "different requests" in independent["notes"][0]


def test_a_benchmark_on_either_side(command: Command, runs: Path) -> None:
    """The results in vllm bench's layout of one run against another: no more than noise between seeds."""
    one = compared(command, runs / "fast" / "bench.json", runs / "other")
    other = compared(command, runs / "other", runs / "fast" / "bench.json")
    assert one == other
    assert one["kind"] == "benchmark"
    found = {row["figure"]: row["finding"] for row in one["groups"][0]["differences"]}
    assert found["ttft_mean_s"] == "noise"


def sweep(folder: Path, rows: list[dict[str, Any]]) -> Path:
    folder.mkdir()
    write_rows(rows, folder / "results.parquet")
    return folder


def test_two_sweeps(command: Command, tmp_path: Path) -> None:
    """Configurations meet by their values, and seeds are pairs; what is in one only is named."""

    def row(replicas: int, seed: int, cost: float, status: str = "finished") -> dict[str, Any]:
        keys = {"run": f"{replicas}-{seed}", "replicas": replicas, "seed": seed}
        return {**keys, "status": status, "error": None, "digest": "d", "cost_usd": cost}

    first = sweep(tmp_path / "a", [row(n, seed, n + seed / 10) for n in (1, 2, 3) for seed in (1, 2, 3)])
    second = sweep(tmp_path / "b", [row(n, seed, n + seed / 10 + 0.01 * seed) for n in (1, 2) for seed in (1, 2, 3)])
    content = compared(command, first, second)
    assert (content["kind"], content["is_paired"]) == ("sweeps", True)
    assert [group["values"] for group in content["groups"]] == [{"replicas": 1}, {"replicas": 2}]
    assert content["groups"][0]["differences"][0]["difference"] == pytest.approx(0.02)
    assert content["notes"] == [f"In {first} only: 1 configuration."]
    lone = sweep(tmp_path / "c", [{key: value for key, value in row(1, 1, 2.0).items() if key != "seed"}])
    notes = compared(command, lone, lone)["notes"]
    assert "chance is not known" in notes[0]


def test_what_cannot_be_compared(command: Command, runs: Path, tmp_path: Path) -> None:
    """Sides of different kinds, folders of something else, damaged and foreign files end with code 2 and the reason."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign.json").write_text('{"speed": 3}')
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "summary.json").write_text("{}")
    (damaged / "requests.parquet").write_bytes(b"none")
    for name in ("without", "folder"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_bytes((runs / "fast" / "summary.json").read_bytes())
    (tmp_path / "folder" / "requests.parquet").mkdir()
    failed = sweep(tmp_path / "failed", [{"run": "1", "seed": 1, "status": "failed", "error": "no", "digest": None}])
    for first, second, message in (
        (runs / "fast", failed, "is a run and"),
        (runs / "fast", tmp_path / "empty", "holds neither a run"),
        (runs / "fast", tmp_path / "nothing", "no such file"),
        (
            runs / "fast",
            tmp_path / "foreign.json",
            "foreign.json:1: not a benchmark result that is known: its keys are",
        ),
        (runs / "fast", runs / "slow" / "summary.json", "is one file of a run, no benchmark's results; give its di"),
        (runs / "fast", runs / "slow" / "manifest.json", "manifest.json:1: not a benchmark result that is known"),
        (runs / "fast", runs / "slow" / "counters.parquet", "benchmark results are JSON, YAML or CSV"),
        (damaged, runs / "fast", "is no run of this release, or damaged"),
        (
            tmp_path / "without",
            runs / "fast",
            "without: is not the directory of a complete run: it has no requests.parq",
        ),
        (runs / "fast", tmp_path / "folder", "requests.parquet: is a folder, not a file"),
        (failed, failed, "no run of the sweep finished"),
    ):
        code, text, error = command("compare", first, second)
        assert (code, text) == (2, "")
        assert message in error


@pytest.mark.parametrize("value", [" ", "7", True])
def test_figures_that_are_no_numbers(command: Command, runs: Path, tmp_path: Path, value: object) -> None:
    """A summary with a text or a truth value for a figure is damaged; error bands of another kind are none."""
    other = tmp_path / "other"
    shutil.copytree(runs / "fast", other)
    file = other / "summary.json"
    summary = json.loads(file.read_text(encoding="utf-8")) | {"predictor_coverage": value}
    file.write_text(json.dumps(summary), encoding="utf-8")
    assert command("compare", runs / "fast", other)[0] == 0
    file.write_text(json.dumps(summary | {"preemptions": value}), encoding="utf-8")
    code, _, error = command("compare", runs / "fast", other)
    assert code == 2
    assert error.startswith(f"error: {file}: preemptions is ")
