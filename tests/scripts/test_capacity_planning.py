"""The capacity planning script: one line per configuration, the best per dollar."""

import csv
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

STUDY = """\
name: small
workload:
  kind: synthetic
  count: 150
  arrivals: {kind: poisson, request_rate: 8}
  lengths:
    prompt: {kind: fixed, value: 500}
    output: {kind: fixed, value: 100}
fleet: {pools: [{model: llama-3-8b, device: h100-sxm, replicas: 1}]}
slo: {ttft_p99_s: 100}
sweep:
  grid:
    fleet.pools.0.device: [l40s, h100-sxm]
    fleet.pools.0.replicas: [1, 0]
"""


@pytest.fixture
def script(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, its tasks run in this process."""
    spec = importlib.util.spec_from_file_location("capacity_planning", checkout / "scripts" / "capacity_planning.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def in_this_process(address: str | None) -> Callable[..., Iterator[tuple[int, Any]]]:
        assert address is None
        return lambda function, tasks: ((position, function(task)) for position, task in enumerate(tasks))

    monkeypatch.setattr(module, "ray_tasks", in_this_process)
    return module


def run(script: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["capacity_planning.py", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        script.main()
    return int(stop.value.code or 0)


def test_finds_the_best_per_dollar(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every configuration has its line in the grid's order; the named best has the most requests per dollar."""
    study, out = tmp_path / "study.yaml", tmp_path / "capacity.csv"
    study.write_text(STUDY, encoding="utf-8")
    limits = ["--ttft-p99-s", "1", "--tpot-p99-s", "0.05"]
    assert run(script, monkeypatch, study, *limits, "--tolerance", "0.2", "--out", out) == 0
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["fleet.pools.0.device"], row["fleet.pools.0.replicas"], row["status"]) for row in rows] == [
        ("l40s", "1", "found"),
        ("l40s", "0", "failed"),
        ("h100-sxm", "1", "found"),
        ("h100-sxm", "0", "failed"),
    ]
    found = [row for row in rows if row["status"] == "found"]
    for row in found:
        assert float(row["ttft_p99_s"]) <= 1
        assert float(row["tpot_p99_s"]) <= 0.05
        rate, usd = float(row["requests_per_s"]), float(row["usd_per_hour"])
        assert float(row["requests_per_usd"]) == pytest.approx(rate * 3600 / usd)
    assert float(found[1]["requests_per_s"]) > float(found[0]["requests_per_s"])
    best = max(found, key=lambda row: float(row["requests_per_usd"]))
    assert f"Best per dollar: fleet.pools.0.device={best['fleet.pools.0.device']}" in capsys.readouterr().out
    assert "0, and nothing starts any" in rows[1]["error"]


def test_wrong_input(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study without configurations ends with code 2 and writes nothing."""
    study, out = tmp_path / "study.yaml", tmp_path / "capacity.csv"
    study.write_text(STUDY.partition("sweep:")[0], encoding="utf-8")
    assert run(script, monkeypatch, study, "--out", out) == 2
    assert not out.exists()


@pytest.mark.parametrize(
    ("changed", "arguments", "message"),
    [
        ("slo: {}", [], "slo: a search needs at least one limit"),
        ("slo: {ttft_p99_s: 1}", ["--out", "nowhere/capacity.csv"], "must name a file in a directory that exists"),
        ("slo: {ttft_p99_s: 1}", ["--out", "."], "must name a file in a directory that exists"),
    ],
)
def test_wrong_input_is_found_before_the_search(
    script: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changed: str,
    arguments: list[str],
    message: str,
) -> None:
    """A study without limits and a file that cannot be written end with code 2 before anything is run."""
    monkeypatch.setattr(script, "ray_tasks", lambda _: pytest.fail("nothing may run"))
    study = tmp_path / "study.yaml"
    study.write_text(STUDY.replace("slo: {ttft_p99_s: 100}", changed), encoding="utf-8")
    assert run(script, monkeypatch, study, *arguments) == 2
    assert message in capsys.readouterr().err


def test_a_load_that_cannot_be_varied_is_refused(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Arrivals without one rate are wrong input, named with their kind."""
    study = tmp_path / "study.yaml"
    ramp = "{kind: mmpp, states: [{request_rate: 1, mean_stay_s: 5}, {request_rate: 3, mean_stay_s: 5}]}"
    study.write_text(STUDY.replace("{kind: poisson, request_rate: 8}", ramp), encoding="utf-8")
    assert run(script, monkeypatch, study, "--out", tmp_path / "capacity.csv") == 2
    assert "got synthetic with arrivals of kind mmpp" in capsys.readouterr().err


def test_configurations_that_all_fail_are_no_answer(script: ModuleType) -> None:
    """Where nothing could be searched the script says so, not that no configuration serves the load."""
    row = {"seed": 1, "status": "failed", "requests_per_usd": None, "error": "does not fit"}
    assert script._best([row, row]) == "No configuration could be searched: the column error says why."
    assert script._best([row, row | {"error": None}]) == "No configuration serves any load within the limits."
