"""``plan`` of the Python interface."""

from pathlib import Path

import pytest

from cluster_sim import InputError, plan
from tests.study.planning.plan_parts import small_study


def test_a_home_directory_is_taken_as_the_command_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``out="~/mine"`` is ``mine`` in the home directory, here one that holds something else."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match=rf"--out {tmp_path}/mine: exists and is not the directory of a plan"):
        plan(small_study(), out="~/mine")
    assert not (tmp_path / "~").exists()
