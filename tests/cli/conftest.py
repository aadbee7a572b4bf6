"""The command in this process, a study file, and runs that are only recorded."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from cluster_sim.cli.app import main
from cluster_sim.simulation.run_options import RunOptions
from tests.cli.command import Command


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs ``cluster-sim`` with arguments in this process; returns exit code, output and errors."""

    def call(*arguments: str | Path | int) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cluster-sim", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        printed = capsys.readouterr()
        return int(stop.value.code or 0), printed.out, printed.err

    return call


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, RunOptions]]:
    """Replaces the run itself; the list receives what it was asked to run."""
    asked: list[tuple[Any, RunOptions]] = []
    module = types.ModuleType("cluster_sim.simulation.run")
    module.run_study = lambda study, options, _: asked.append((study, options))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cluster_sim.simulation.run", module)
    return asked


@pytest.fixture
def study_file(command: Command, tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    assert command("init", "-o", path)[0] == 0
    return path
