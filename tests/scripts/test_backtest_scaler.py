"""Back-test of scalers on recorded metrics."""

import csv
from pathlib import Path
from typing import Any

import pytest

from cluster_sim.errors import InputError
from scripts.backtest_scaler import decisions
from tests.routing.scaling.drive import Load, step

STUDY = """\
workload:
  kind: synthetic
  count: 1
  arrivals: {kind: constant, request_rate: 1}
  lengths: {prompt: {kind: fixed, value: 9}, output: {kind: fixed, value: 9}}
fleet: {pools: [{model: llama-3-8b, device: h100-sxm}]}
autoscaler: {kind: hpa, metrics: [{metric: in_flight, target: 10}], max_replicas: 100}
"""


def changes(folder: Path, rows: list[dict[str, Any]], *overrides: str) -> list[tuple[float, int]]:
    """Return (time in s, replicas granted) of every change that the study's scaler makes on recorded rows."""
    study, metrics = folder / "study.yaml", folder / "metrics.csv"
    study.write_text(STUDY, encoding="utf-8")
    with metrics.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    found = decisions(study, metrics, overrides)
    return [(each.time_ns / 1e9, each.granted) for each in found if each.granted != each.ready + each.starting]


def seconds(load: Load, end_s: int, column: str) -> list[dict[str, Any]]:
    """Return one row a second with the load of the second before it."""
    return [{"time_s": second + 1, column: load(second)} for second in range(end_s)]


def test_a_recorded_step_gives_the_trajectory_of_a_run(tmp_path: Path) -> None:
    """The step of the hand-worked trajectories: 4 replicas at 75 s, 1 at 900 s; cold starts change nothing here."""
    assert changes(tmp_path, seconds(step(4, 40, 60, 600), 1000, "in_flight")) == [(75, 4), (900, 1)]


def test_samples_of_replicas_and_recorded_numbers(tmp_path: Path) -> None:
    """Two recorded ready replicas with 30 waiting each of a target of 10 ask for 6, again and again: they stay two."""
    rows = [
        {"time_s": time_s, "replica": replica, "ready": 2, "waiting": 30} for time_s in range(61) for replica in (0, 1)
    ]
    scaler = "autoscaler.metrics=[{metric: waiting, target: 10}]"
    # The policies allow +4 in 15 s: 6 of 2.
    assert changes(tmp_path, rows, scaler) == [(15, 6), (30, 6), (45, 6), (60, 6)]


def test_the_oracle_knows_the_recorded_arrivals(tmp_path: Path) -> None:
    """2 -> 8 arrivals per second at 100 s, 2 a replica: four are ordered in time for a cold start of 30 s."""
    rows = seconds(step(2, 8, 100, 200), 300, "arrivals")
    cold = "fleet.pools.0.cold_start={process_s: 30, compile_s: 0, warmup_s: 0, weights_gb_per_s: 10000}"
    assert changes(tmp_path, rows, "autoscaler={kind: oracle, requests_per_s: 2}", cold)[0] == (60, 4)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"time_s": 1, "pool": "other", "in_flight": 1}], "row 1: pool 'other' is not one of main"),
        ([{"time_s": "x", "in_flight": 1}], "row 1: could not convert string to float"),
        ([{"time_s": -1, "in_flight": 1}], "row 1: times and figures are finite numbers"),
        ([{"in_flight": 1}], "row 1: 'time_s'"),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, rows: list[dict[str, Any]], message: str) -> None:
    """The row at fault is named."""
    with pytest.raises(InputError, match=message):
        changes(tmp_path, rows)
