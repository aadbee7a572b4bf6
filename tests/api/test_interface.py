"""The Python interface: what importing costs, studies, results and sweeps."""

import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import cluster_sim
from cluster_sim import InputError, Result, Study, simulate, sweep
from cluster_sim.api import progress_view
from cluster_sim.simulation.view import SilentView

TINY: dict[str, Any] = {
    "name": "tiny",
    "workload": {
        "kind": "synthetic",
        "count": 20,
        "arrivals": {"kind": "poisson", "request_rate": 10},
        "lengths": {"prompt": {"kind": "fixed", "value": 100}, "output": {"kind": "fixed", "value": 5}},
    },
    "fleet": {"pools": [{"model": "llama-3-8b", "device": "h100-sxm", "engine": {"num_kv_blocks": 500}}]},
    "predictor": {"kind": "roofline"},
}


def test_importing_loads_nothing_heavy() -> None:
    """Importing the package and printing help load neither pandas, numpy, Ray nor the simulator."""
    code = (
        "import sys, cluster_sim, cluster_sim.cli.app\n"
        "heavy = ('pandas', 'numpy', 'ray', 'pyarrow', 'pydantic', 'cluster_sim.simulation')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_running_does_not_load_pandas(tmp_path: Path) -> None:
    """A run, whose tables nobody asks for, is as quick as without pandas."""
    study = tmp_path / "study.yaml"
    study.write_text(Study.from_dict(TINY).to_yaml(), encoding="utf-8")
    code = (
        "import sys; from cluster_sim import Study, simulate; "
        f"simulate(Study.load({str(study)!r})); print('pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_every_name_is_there() -> None:
    """Each exported name can be loaded and is listed; an unknown one is an AttributeError."""
    for name in cluster_sim.__all__:
        assert getattr(cluster_sim, name) is not None
        assert name in dir(cluster_sim)
    with pytest.raises(AttributeError, match="no attribute 'simulat'"):
        _ = cluster_sim.simulat


def test_studies_of_files_and_dictionaries_are_equal(tmp_path: Path) -> None:
    """A file, a dictionary, and a study without changes give equal studies."""
    study = Study.from_dict(TINY)
    (tmp_path / "study.yaml").write_text(study.to_yaml(), encoding="utf-8")
    assert Study.load(tmp_path / "study.yaml").to_yaml() == study.to_yaml()
    assert study.with_changes({}) == study
    assert "count: 20" in study._repr_html_()


def test_changes_take_numbers_of_numpy_and_whole_blocks() -> None:
    """A change may be a number of numpy, a path, or a block; the study it is made from stays as it is."""
    study = Study.from_dict(TINY)
    changed = study.with_changes({"fleet.pools.0.replicas": np.int64(3), "slo": {"ttft_p99_s": np.float64(0.5)}})
    assert changed.fleet.pools[0].replicas == 3
    assert changed.slo.ttft_p99_s == 0.5
    assert study.fleet.pools[0].replicas == 1
    with pytest.raises(InputError, match=r"fleet\.pools\.0\.replica"):
        study.with_changes({"fleet.pools.0.replica": 3})


def test_a_result_has_tables(tmp_path: Path) -> None:
    """A result has one row per request, a series per replica, and the figures of the summary in both forms."""
    result = simulate(Study.from_dict(TINY), tmp_path / "run")
    assert list(result.requests.status) == ["finished"] * 20
    assert set(result.series.replica) == {0}
    assert isinstance(result.summary, pd.DataFrame)
    assert result.summary.loc["ttft_s.p99", "value"] == result.figures["ttft_s"]["p99"]
    assert result.verdict is None
    assert "20 of 20 finished" in repr(result)
    assert "<table>" in result._repr_html_()
    again = Result.load(tmp_path / "run")
    assert again.figures == result.figures
    assert again.study.to_yaml() == result.study.to_yaml()
    with pytest.raises(InputError, match="not the directory of a complete run"):
        Result.load(tmp_path)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs of one study that differ in their seeds."""
    folder = tmp_path_factory.mktemp("pair")
    for seed in (1, 2):
        simulate(Study.from_dict(TINY | {"seed": seed}), folder / str(seed))
    return folder / "1", folder / "2"


@pytest.mark.parametrize("name", ["summary.json", "manifest.json", "resolved.yaml", "requests.parquet"])
def test_files_of_two_runs_are_no_result(pair: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    """A directory with one file of another run is refused, as reports refuse it."""
    shutil.copytree(pair[0], tmp_path / "mixed")
    shutil.copy(pair[1] / name, tmp_path / "mixed" / name)
    with pytest.raises(InputError, match="not of one run"):
        Result.load(tmp_path / "mixed")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("summary.json", "{bad"),
        ("summary.json", "[]"),
        ("summary.json", "{}"),
        ("manifest.json", "[]"),
        ("manifest.json", "{}"),
        ("requests.parquet", "xx"),
        ("resolved.yaml", "["),
    ],
)
def test_damaged_files_are_no_result(pair: tuple[Path, Path], tmp_path: Path, name: str, content: str) -> None:
    """A file that no run writes so is wrong input that is named, or its directory is."""
    shutil.copytree(pair[0], tmp_path / "damaged")
    (tmp_path / "damaged" / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match="damaged"):
        Result.load(tmp_path / "damaged")


def test_files_without_a_place_go_with_the_result() -> None:
    """A run that is given no directory leaves nothing once its result is gone."""
    result = simulate(Study.from_dict(TINY))
    place = result.directory
    assert place.exists()
    del result
    assert not place.exists()


def test_a_run_without_series_says_so() -> None:
    """The series of a run that wrote none is refused with the reason."""
    result = simulate(Study.from_dict({**TINY, "run": {"series_interval_s": 0}}))
    if not (result.directory / "series.parquet").exists():
        with pytest.raises(InputError, match="series_interval_s"):
            _ = result.series
    else:
        assert result.series.empty


def test_a_sweep_is_a_table(tmp_path: Path) -> None:
    """A sweep has a row per combination, failures included, and shows the keys that vary."""
    grid = {"fleet.pools.0.tensor_parallel": [1, 3], "seed": [1, 2]}
    table = sweep(Study.from_dict(TINY), grid, tmp_path / "sweep", executor="inline")
    assert list(table.runs.status) == ["finished", "finished", "failed", "failed"]
    assert "tensor_parallel" in table.runs.error[2]
    assert "2 failed" in repr(table)
    assert "fleet.pools.0.tensor_parallel" in table._repr_html_()
    with pytest.raises(InputError, match="has no sweep block"):
        sweep(Study.from_dict(TINY))


def test_progress_is_shown_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a notebook a bar is drawn and taken away at the end; without one nothing is shown."""
    assert isinstance(progress_view.view_of(None), SilentView)
    shown: list[str] = []

    class Place:
        def update(self, part: Any) -> None:
            shown.append(part._repr_html_())

    def display(part: Any, *, display_id: bool) -> Place:
        assert display_id
        shown.append(part._repr_html_())
        return Place()

    shell = ModuleType("IPython.core.getipython")
    shell.get_ipython = lambda: SimpleNamespace(kernel=1)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython.core.getipython", shell)
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    view = progress_view.view_of(None)
    assert isinstance(view, progress_view.NotebookView)
    times = iter(range(100))
    with progress_view.NotebookView(display, lambda: float(next(times))).progress(10) as update:
        update(10**9, 5)
    assert 'value="0.000"' in shown[0]
    assert 'value="0.500"' in shown[1]
    assert shown[-1] == ""
