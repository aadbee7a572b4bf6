"""Scripts that use the Python interface: llm-infer's experiments, sensitivity, and Vidur's capacity search."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from cluster_sim import InputError, Study
from scripts import llm_infer_experiments, sensitivity, vidur_capacity


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A server of whole batches that no more than about six requests a second pass."""
    data = {
        "name": "server",
        "workload": {
            "kind": "synthetic",
            "count": 200,
            "arrivals": {"kind": "poisson", "request_rate": 2},
            "lengths": {"prompt": {"kind": "fixed", "value": 100}, "output": {"kind": "fixed", "value": 20}},
        },
        "fleet": {
            "pools": [
                {
                    "model": "llama-3-8b",
                    "device": "h100-sxm",
                    "engine": {"kind": "static_two_phase", "max_num_seqs": 1, "num_kv_blocks": 5000},
                }
            ]
        },
        "predictor": {"kind": "two_phase", "alpha_s_per_token": 0.001, "beta_s": 0.05, "gamma_s_per_step": 0.0005},
        "run": {"series_interval_s": 0},
    }
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return path


def test_an_experiment_is_a_page_of_four_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The policies on 40 requests, twice: four charts with bands, and a table of four policies."""
    arguments = ["2", "--replications", "2", "--requests", "40", "--inline", "--out", str(tmp_path)]
    assert llm_infer_experiments.main(arguments) == 0
    page = Path(capsys.readouterr().out.strip()).read_text(encoding="utf-8")
    assert page.count("<figure") == 4
    for policy in ("fcfs", "sjf", "predicted_sjf", "priority_aging"):
        assert policy in page
    assert "95 % band" in page
    assert llm_infer_experiments.main([*arguments, "--resume"]) == 0
    assert llm_infer_experiments.main(["7", "--out", str(tmp_path)]) == 2


def test_thirty_replications_are_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without options every experiment has seeds 42 to 71 for each setting, on as many requests as its study says."""
    asked: list[tuple[str, dict[str, Any], int]] = []

    def noted(study: Study, grid: dict[str, Any], *_: Any, **__: Any) -> Any:
        asked.append((study.name, grid, study.workload.count))  # type: ignore[attr-defined]
        raise InputError("far enough")

    monkeypatch.setattr(llm_infer_experiments, "sweep", noted)
    for number in range(1, 6):
        assert llm_infer_experiments.main([str(number), "--out", str(tmp_path)]) == 2
    assert [requests for _, _, requests in asked] == [10000, 10000, 5000, 10000, 10000]
    for _, grid, _ in asked:
        assert grid["seed"] == list(range(42, 72))


def test_settings_without_a_figure_are_drawn_as_none() -> None:
    """Of two settings one has no request that ended: the table says none, and the note how many runs count."""
    known = {figure: [1.0, 3.0] for figure, _ in llm_infer_experiments.FIGURES}
    unknown = {figure: [float("nan")] * 2 for figure, _ in llm_infer_experiments.FIGURES}
    groups = [("8", pd.DataFrame(known)), ("64", pd.DataFrame(unknown))]
    page = llm_infer_experiments.drawn("x", ["fleet.pools.0.engine.max_num_seqs"], groups, 2)
    assert "2 (-10.71 to 14.71)" in page
    assert page.count(">none<") == 4
    assert "of one setting only 0 do" in page


def test_morris_on_a_sum() -> None:
    """Effects of a linear function are its coefficients, with no spread; those of a product have one."""

    def linear(point: np.ndarray) -> float:
        return float(3 * point[0] - 2 * point[1])

    columns, rows = sensitivity.morris(linear, ["a", "b", "c"], 6, np.random.default_rng(1))
    assert columns == ("mu*", "mu", "sigma")
    assert rows["a"] == pytest.approx((3, 3, 0))
    assert rows["b"] == pytest.approx((2, -2, 0))
    assert rows["c"] == pytest.approx((0, 0, 0))
    spread = sensitivity.morris(lambda p: float(p[0] * p[1]), ["a", "b"], 20, np.random.default_rng(1))[1]
    assert spread["a"][2] > 0.1


def test_sobol_on_a_sum() -> None:
    """For 2x + y over the unit square the indices are 4/5 and 1/5, total and first order alike."""
    rows = sensitivity.sobol(lambda p: float(2 * p[0] + p[1]), ["a", "b"], 4000, np.random.default_rng(1))[1]
    assert rows["a"] == pytest.approx((0.8, 0.8), abs=0.05)
    assert rows["b"] == pytest.approx((0.2, 0.2), abs=0.05)


def test_the_rate_matters_most(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table of options, the one with the largest effect first; a wrong range or figure ends with code 2."""
    vary = ["--vary", "workload.arrivals.request_rate=1:8", "--vary", "workload.lengths.output.value=19:21"]
    assert sensitivity.main([str(study), *vary, "--figure", "e2e_s.mean", "--samples", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("workload.arrivals.request_rate")
    assert sensitivity.main([str(study), "--vary", "seed=2:1"]) == 2
    assert sensitivity.main([str(study), *vary, "--figure", "nothing", "--samples", "1"]) == 2


def test_capacity_by_the_scheduling_delay(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One request at a time takes 0.16 s: about six a second; two replicas carry twice as many."""
    options = ["--delay-limit-s", "2", "--vary", "fleet.pools.0.replicas=1,2"]
    assert vidur_capacity.main([str(study), *options]) == 0
    one, two, best = capsys.readouterr().out.splitlines()
    rates = [float(line.split(": ")[1].split()[0]) for line in (one, two)]
    assert 4.5 < rates[0] < 9
    assert rates[1] == pytest.approx(2 * rates[0], rel=0.3)
    assert best.startswith("Best: fleet.pools.0.replicas=")
    assert vidur_capacity.main([str(study), "--vary", "nothing"]) == 2
