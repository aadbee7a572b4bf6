"""Paths of a command line that begin with ``~``."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cluster_sim.cli.command_group import in_full
from tests.cli.command import Command
from tests.small_run import STUDY


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def test_values_in_full(tmp_path: Path) -> None:
    """Paths, texts and lists of them; names of users that are not there, and whatever has ``~`` inside, stay."""
    home = tmp_path / "home"
    assert in_full(Path("~/a")) == home / "a"
    assert in_full(["~/a", Path("~"), "b=~/a", "~nobody-of-that-name/a"]) == [
        f"{home}/a", home, "b=~/a", "~nobody-of-that-name/a",
    ]  # fmt: skip
    assert (in_full(3), in_full(None)) == (3, None)


def test_commands_read_and_write_at_home(command: Command, tmp_path: Path) -> None:
    """A trace, a study and a run are found and made there, and nothing is left in the working directory."""
    home = tmp_path / "home"
    (home / "a.csv").write_text("arrived_at,num_prefill_tokens,num_decode_tokens\n0,50,9\n1,50,9\n")
    (home / "study.yaml").write_text(STUDY)
    assert command("workload", "convert", "~/a.csv", "~/a.parquet")[0] == 0
    assert pq.read_table(home / "a.parquet").num_rows == 2
    code, _, error = command("run", "~/study.yaml", "--executor", "inline", "--out=~/runs/first")
    assert (code, error) == (0, "")
    assert (home / "runs" / "first" / "summary.json").is_file()
    assert command("report", "~/runs/first")[0] == 0
    assert list((tmp_path / "work").iterdir()) == []
