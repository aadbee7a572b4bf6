"""The ``checkpoint`` and ``fork`` commands: what they print, write and refuse."""

import json
from pathlib import Path

from tests.cli.command import Command
from tests.small_run import STUDY


def test_a_fork_prints_and_writes_its_comparison(command: Command, tmp_path: Path) -> None:
    """Two policies and the unchanged run, with differences in the table and in fork.json."""
    study, warm, out = tmp_path / "study.yaml", tmp_path / "warm", tmp_path / "fork"
    study.write_text(STUDY)
    code, text, error = command("checkpoint", study, "--at", "4s", "--out", warm)
    assert (code, text.splitlines()[0]) == (0, f"checkpoint at 4 s in {warm}"), error
    varied = "router.policy=[random, round_robin]"
    code, text, error = command("fork", warm, "--vary", varied, "--out", out, "--executor", "auto")
    assert code == 0, error
    assert "requests that arrive from 4 s on, compared in pairs" in text
    written = json.loads((out / "fork.json").read_text())
    names = ["unchanged", "router.policy=random", "router.policy=round_robin"]
    assert [branch["name"] for branch in written["branches"]] == names
    assert all((out / name / "summary.json").is_file() for name in names)


def test_wrong_input_is_refused_and_leaves_nothing(command: Command, tmp_path: Path) -> None:
    """Times, keys and folders; exit code 2 and one message."""
    study, warm, out = tmp_path / "study.yaml", tmp_path / "warm", tmp_path / "fork"
    study.write_text(STUDY)
    for at, message in (
        ("soon", "must be a positive number with its unit (us, ms, s, m or min, h) or of seconds, for example 300s"),
        ("10m", "--at 600: the run ends before, at "),
        ("1h", "--at 3600: the run ends before, at "),
    ):
        code, _, error = command("checkpoint", study, "--at", at, "--out", warm)
        assert code == 2
        assert message in error
    assert command("checkpoint", study, "--at", "4", "--out", warm)[0] == 0
    for arguments, message in (
        ([], "a fork needs a change"),
        (["--set", "seed=2"], "fork: seed cannot change during a run"),
        (["--vary", "router.polcy=[random]"], "cannot change during a run; did you mean 'router.policy'?; these can: "),
        (["--set", "router.policy"], "--set router.policy: must look like key.path=value"),
        (["--vary", "router.policy=random"], "--vary router.policy: must be a list"),
        (["--set", "router.ties=first", "--set", "router.ties=random"], "is given twice"),
    ):
        code, _, error = command("fork", warm, *arguments, "--out", out)
        assert code == 2
        assert message in error
    assert command("fork", tmp_path, "--set", "router.policy=random", "--out", out)[0] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study.yaml", "warm"]
