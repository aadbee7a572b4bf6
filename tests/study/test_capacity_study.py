"""The capacity of every configuration: rows, files, resuming, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from cluster_sim import __version__
from cluster_sim.config.loading.load import read_document
from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.report.capacity_report import answer_text, best_text
from cluster_sim.simulation.task_pool import InlinePool
from cluster_sim.study.capacity_study import CapacityOptions, CapacityResult, run_capacity
from tests.study.small_search import make_small

STUDY = """\
name: queue
seed: 3
workload: {kind: synthetic, count: 7, arrivals: {kind: poisson, request_rate: 0.02},
  lengths: {prompt: {kind: fixed, value: 1000}, output: {kind: fixed, value: 1}}}
fleet: {pools: [{model: llama-3-8b, device: h100-sxm, engine: {kind: orca, max_num_seqs: 1}}]}
predictor: {kind: linear, alpha_us: 1, beta_us: 1000}
slo: {e2e_p50_s: 2}
"""
SWEEP = "sweep: {grid: {fleet.pools.0.replicas: [1, 0, 2]}}\n"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    make_small(monkeypatch)


def run(
    folder: Path, text: str, *, out: str = "out", resume: bool = False, pool: Any = None, tolerance: float = 0.05
) -> CapacityResult:
    path = folder / "study.yaml"
    path.write_text(text)
    options = CapacityOptions(out=folder / out, resume=resume, tolerance_ratio=tolerance)
    return run_capacity(path, read_document(path, []), options, pool or InlinePool())


def test_rows_and_files(tmp_path: Path) -> None:
    """Two replicas serve about twice as much; none are an error in its row; the best per dollar is named."""
    result = run(tmp_path, STUDY + SWEEP)
    one, none, two = result.rows
    assert [row["status"] for row in result.rows] == ["found", "failed", "found"]
    assert "0, and nothing starts any" in none["error"]
    assert two["requests_per_s"] == pytest.approx(2 * one["requests_per_s"], rel=0.4)
    for row in (one, two):
        assert row["requests_per_s_low"] <= row["requests_per_s"] < row["requests_per_s_high"]
        assert row["figures"]["e2e_p50_s"]["value"] <= 2
        assert row["requests_per_usd"] == pytest.approx(row["requests_per_s"] * 3600 / row["usd_per_hour"])
        assert row["band_requests_per_s_low"] is None
    content = json.loads((result.directory / "capacity.json").read_text())
    assert content["configurations"] == result.rows
    assert (content["name"], content["seed"], content["confidence"]) == ("queue", 3, 0.95)
    assert sorted(path.name for path in result.directory.iterdir()) == [
        *("capacity.csv", "capacity.json", "capacity.yaml", "runs", "search.json")
    ]
    assert answer_text(one).startswith(f"{one['requests_per_s']:.2f} requests/s ({one['requests_per_s_low']:.2f}-")
    best = best_text(result.rows)
    assert best.startswith("Best per dollar: fleet.pools.0.replicas=")
    assert best_text([none]) == "No configuration could be searched: the column error says why."


class StoppingPool(InlinePool):
    """Stops the process's user after some runs."""

    def __init__(self, runs: int) -> None:
        super().__init__()
        self._left = runs

    def next_ended(self) -> tuple[int, Any]:
        if not self._left:
            raise KeyboardInterrupt
        self._left -= 1
        return super().next_ended()


def test_a_resumed_search_gives_the_same_answer(tmp_path: Path) -> None:
    """Stopped twice in the middle of a configuration and resumed: the file of an undisturbed search, to the byte."""
    whole = run(tmp_path, STUDY + SWEEP, out="whole")
    for resume, runs in ((False, 10), (True, 25)):
        with pytest.raises(UnfinishedError, match="add --resume to go on"):
            run(tmp_path, STUDY + SWEEP, resume=resume, pool=StoppingPool(runs))
    with pytest.raises(InputError, match="did not finish; continue it with --resume"):
        run(tmp_path, STUDY + SWEEP)
    resumed = run(tmp_path, STUDY + SWEEP, resume=True)
    for name in ("capacity.json", "capacity.csv"):
        assert (resumed.directory / name).read_bytes() == (whole.directory / name).read_bytes()
    again = run(tmp_path, STUDY + SWEEP, resume=True, pool=StoppingPool(0))
    assert again.rows == resumed.rows


def test_another_search_is_refused(tmp_path: Path) -> None:
    """A directory holds one study, one tolerance and one release; another is named, and nothing is touched."""
    with pytest.raises(UnfinishedError):
        run(tmp_path, STUDY, pool=StoppingPool(3))
    with pytest.raises(
        InputError, match="holds another capacity search than this study asks for: seed is 3 there and 4 here"
    ):
        run(tmp_path, STUDY.replace("seed: 3", "seed: 4"), resume=True)
    with pytest.raises(InputError, match=r"holds a search with tolerance 0\.05 .*, not tolerance 0\.04"):
        run(tmp_path, STUDY, resume=True, tolerance=0.04)
    search = tmp_path / "out.partial" / "search.json"
    search.write_text(search.read_text().replace("version", "version_")[:-1])
    with pytest.raises(InputError, match="of release None"):
        run(tmp_path, STUDY, resume=True)
    record = tmp_path / "out.partial" / "capacity.yaml"
    record.write_text(record.read_text().replace(f"cluster-sim {__version__}", "cluster-sim 0.0.9"))
    with pytest.raises(InputError, match=r"holds a capacity search of release 0\.0\.9"):
        run(tmp_path, STUDY, resume=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (STUDY.replace("slo: {e2e_p50_s: 2}", ""), "slo: a search of the highest load needs at least one limit"),
        (STUDY.replace("e2e_p50_s", "e2e_p42_s"), "unknown key"),
        (STUDY + "sweep: {grid: {}}\n", "sweep"),
        (STUDY + "sweep: {grid: {fleet.pools.0.replicas: []}}\n", "has no values"),
        (STUDY + "sweep: {grid: {fleet.pools.0.wheels: [1, 2]}}\n", "wheels"),
        (STUDY.replace("count: 7", "count: 7, max_concurrency: 3"), "workload.max_concurrency"),
    ],
)
def test_wrong_input_leaves_nothing_behind(tmp_path: Path, text: str, message: str) -> None:
    """Wrong studies are refused before anything is run or written."""
    with pytest.raises(InputError, match=message.replace(".", r"\.")):
        run(tmp_path, text, pool=StoppingPool(0))
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]


def test_a_limit_that_nothing_meets(tmp_path: Path) -> None:
    """The answer says how near the lowest load comes, and to which limit."""
    result = run(tmp_path, STUDY.replace("e2e_p50_s: 2", "e2e_p50_s: 0.5"))
    assert not result.has_capacity
    assert best_text(result.rows) == (
        "No configuration serves any load within the limits; e2e p50 is 1 s, above 0.5 s, even at the lowest load."
    )
