"""The ``export`` command."""

import sys
from pathlib import Path

import pytest

from tests.cli.command import Command
from tests.small_run import run_small


def test_export_says_where_the_run_went(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong input ends with code 2 and one message, whatever is wrong about it."""
    run = run_small(tmp_path, "workload.count=20").directory
    monkeypatch.setitem(sys.modules, "wandb", None)
    code, text, error = command("export", run, "wandb", "--set", "project=fleet")
    assert (code, text) == (2, "")
    assert "pip install 'cluster-sim[wandb]'" in error
    assert command("export", run, "nowhere")[0] == 2
