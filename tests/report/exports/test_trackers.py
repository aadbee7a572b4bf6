"""Tests of the export to trackers of experiments, with stand-ins for the packages and with the packages themselves."""

import json
import sys
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from cluster_sim.errors import InputError
from cluster_sim.report.export_target import EXPORTS
from cluster_sim.report.flat_summary import flat_study, flat_summary
from cluster_sim.report.run_data import RunData
from cluster_sim.report.run_export import export_run
from tests.outside_package import recipe


class Tracker(ModuleType):
    """A stand-in for either package; notes what it is given."""

    def __init__(self) -> None:
        super().__init__("tracker")
        self.given: dict[str, Any] = {}
        self.parts: dict[str, list[int]] = {"params": [], "metrics": []}
        self.files: list[str] = []
        self.summary: dict[str, float] = {}
        self.url, self.dir = "https://tracker/run", "folder"
        self.is_over = False
        self.info = SimpleNamespace(run_id="r1")

    def init(self, **options: Any) -> "Tracker":
        self.given |= options
        return self

    def Artifact(self, name: str, type: str) -> "Tracker":  # noqa: N802, A002 - the package's own names
        self.given |= {"artifact": name, "type": type}
        return self

    def add_file(self, path: str) -> None:
        self.files.append(Path(path).name)

    def log_artifact(self, artifact: Any) -> None:
        if artifact is not self:
            self.add_file(artifact)

    def finish(self) -> None:
        self.is_over = True

    def set_tracking_uri(self, uri: str) -> None:
        self.given["uri"] = uri

    def set_experiment(self, name: str) -> None:
        self.given["experiment"] = name

    @contextmanager
    def start_run(self, run_name: str):
        self.given["name"] = run_name
        yield self
        self.is_over = True

    def log_params(self, values: dict[str, str]) -> None:
        self.parts["params"].append(len(values))
        self.given.setdefault("config", {}).update(values)

    def log_metrics(self, values: dict[str, float]) -> None:
        self.parts["metrics"].append(len(values))
        self.summary |= values


@pytest.fixture(params=["wandb", "mlflow"])
def name(request: pytest.FixtureRequest) -> str:
    """The name of a target."""
    return str(request.param)


def test_trackers_get_the_summary_and_the_study(
    name: str, run_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every number of summary.json and every option of the study arrive under their dotted places, with the files."""
    tracker = Tracker()
    monkeypatch.setitem(sys.modules, name, tracker)
    summary = json.loads((run_directory / "summary.json").read_text())
    told = export_run(run_directory, name)
    assert told in {"Weights & Biases: https://tracker/run", "MLflow: experiment cluster-sim, run r1"}
    assert tracker.is_over
    assert tracker.given["name"] == summary["name"]
    assert tracker.summary["ttft_s.p99"] == summary["ttft_s"]["p99"]
    assert tracker.summary["pools.main.gpu_hours"] == summary["pools"][0]["gpu_hours"]
    assert tracker.summary["replicas.1.iterations"] == summary["replicas"][1]["iterations"]
    assert str(tracker.given["config"]["fleet.pools.main.replicas"]) == "2"
    assert sorted(tracker.files) == ["resolved.yaml", "summary.json"]
    assert all(count <= 100 for count in tracker.parts["params"])


def test_missing_package_is_named_with_its_extra(
    name: str, run_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the package there is one message that says how to install it; other faults are the target's own."""
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=rf"{name}: needs the package .*pip install 'cluster-sim\[{name}\]'"):
        export_run(run_directory, name)
    tracker = Tracker()
    tracker.init = tracker.set_experiment = lambda *_, **__: 1 / 0
    monkeypatch.setitem(sys.modules, name, tracker)
    with pytest.raises(InputError, match=f"^{name}: ZeroDivisionError: division by zero"):
        export_run(run_directory, name)


def test_wrong_targets_options_and_directories(run_directory: Path, tmp_path: Path) -> None:
    """Unknown names are answered with the known ones, and a folder without a run is refused."""
    with pytest.raises(InputError, match=r"unknown export target 'wanbd'; did you mean 'wandb'\?; known: mlflow, otlp"):
        export_run(run_directory, "wanbd")
    with pytest.raises(InputError, match="--set projekt=x: projekt: unknown"):
        export_run(run_directory, "wandb", ["projekt=x"])
    with pytest.raises(InputError, match="--set mode=later: mode"):
        export_run(run_directory, "wandb", ["mode=later"])
    with pytest.raises(InputError, match="is not the directory of a complete run"):
        export_run(tmp_path, "wandb")


def test_mlflow_itself_takes_a_run(run_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the package installed, a folder of MLflow's has the run with its metrics and parameters."""
    mlflow = pytest.importorskip("mlflow", reason="needs the extra mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    told = export_run(run_directory, "mlflow", [f"tracking_uri={(tmp_path / 'runs').as_uri()}", "experiment=mine"])
    run = mlflow.get_run(told.rpartition(" ")[2])
    data = RunData.read(run_directory)
    assert run.data.metrics == pytest.approx(flat_summary(data))
    assert set(run.data.params) == set(flat_study(data))


def test_wandb_itself_takes_a_run(run_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the package installed, a run without a network leaves a folder that can be synchronised later."""
    pytest.importorskip("wandb", reason="needs the extra wandb")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_SILENT", "true")
    assert "offline-run" in export_run(run_directory, "wandb", ["mode=offline"])
    assert list((tmp_path / "wandb").glob("offline-run-*"))


def test_the_recipe_writes_a_line(run_directory: Path, tmp_path: Path) -> None:
    """The target of docs/extend.md appends the run's name and cost."""
    ledger = tmp_path / "runs.txt"
    with EXPORTS.isolated():
        exec(compile(recipe("export_target"), "recipe", "exec"), {"__name__": "recipe"})
        assert export_run(run_directory, "ledger", [f"path={ledger}"]) == str(ledger)
    cost_usd = RunData.read(run_directory).summary["cost_usd"]
    assert ledger.read_text() == f"small {cost_usd:.4f}\n"
