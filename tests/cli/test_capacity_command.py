"""The ``capacity`` command: its lines, its table and its exit codes."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from cluster_sim.simulation import launcher
from cluster_sim.simulation.task_pool import InlinePool
from tests.cli.command import Command
from tests.study.small_search import make_small
from tests.study.test_capacity_study import STUDY


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are made in this process, with little effort."""
    monkeypatch.setattr(launcher, "ray_pool", lambda address: nullcontext(InlinePool()))  # noqa: ARG005
    make_small(monkeypatch)


@pytest.mark.usefixtures("inline")
def test_lines_and_table(command: Command, tmp_path: Path) -> None:
    """Each configuration has a line with its rate and interval, then the table, the files and the best per dollar."""
    path = tmp_path / "study.yaml"
    path.write_text(STUDY + "sweep: {grid: {fleet.pools.0.device: [l40s, abacus]}}\n")
    code, text, error = command("capacity", path, "--out", tmp_path / "out", "--tolerance", "0.05")
    assert (code, error) == (0, "")
    lines = text.splitlines()
    assert "abacus" in lines[0]
    assert lines[1].startswith("2/2: fleet.pools.0.device=l40s: ")
    assert " requests/s (" in lines[1]
    assert f"2 configurations: {tmp_path / 'out' / 'capacity.json'}, capacity.csv" in lines
    assert lines[-1].startswith("Best per dollar: fleet.pools.0.device=l40s: ")
    code, again, _ = command("capacity", path, "--out", tmp_path / "out", "--tolerance", "0.05", "--resume")
    assert (code, again.splitlines()[-1]) == (0, lines[-1])


@pytest.mark.usefixtures("inline")
def test_a_limit_that_nothing_meets(command: Command, tmp_path: Path) -> None:
    """Without any capacity the command ends with code 2, and says what limits the load."""
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.replace("e2e_p50_s: 2", "e2e_p50_s: 0.5"))
    code, _, error = command("capacity", path, "--out", tmp_path / "out")
    assert code == 2
    assert "e2e p50 is 1 s, above 0.5 s, even at the lowest load" in error


def test_wrong_input(command: Command, tmp_path: Path) -> None:
    """A study without limits ends with code 2 and leaves nothing."""
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.replace("slo: {e2e_p50_s: 2}", ""))
    code, _, error = command("capacity", path, "--out", tmp_path / "out")
    assert code == 2
    assert "needs at least one limit" in error
    assert [file.name for file in tmp_path.iterdir()] == ["study.yaml"]
