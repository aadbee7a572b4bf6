"""Profiles of runs."""

from pathlib import Path
from pstats import Stats

import pytest
from typer.testing import CliRunner

from cluster_sim.cli.app import app
from cluster_sim.errors import InputError
from cluster_sim.simulation.run import run_study
from cluster_sim.simulation.run_options import RunOptions
from tests.small_run import STUDY, run_small, small_study


def test_a_profile_names_the_event_loop_and_changes_nothing(tmp_path: Path) -> None:
    """The command writes statistics in which the loop ran once; the digest is that of a plain run."""
    (tmp_path / "study.yaml").write_text(STUDY, encoding="utf-8")
    out = tmp_path / "profiled"
    command = ["run", str(tmp_path / "study.yaml"), "--executor", "inline", "--out", str(out), "--profile"]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0
    assert run_small(tmp_path).digest in result.output
    calls = {name: row[0] for (_, _, name), row in Stats(str(out / "profile.pstats")).stats.items()}  # type: ignore[attr-defined]
    assert calls["run_loop"] == 1


def test_actors_are_not_profiled(tmp_path: Path) -> None:
    """A profile of a run on Ray is refused before anything is written."""
    study = small_study(tmp_path)
    with pytest.raises(InputError, match=r"--profile: the executor ray simulates in processes of its own.*inline"):
        run_study(study, RunOptions(executor="ray", out=tmp_path / "run", is_profiled=True))
    assert not (tmp_path / "run").exists()
