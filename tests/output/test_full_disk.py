"""Runs whose files cannot grow any more, as on a full disk."""

import json
from pathlib import Path

import pyarrow.parquet as pq

from tests.fuzz.guarded import run_guarded
from tests.small_run import STUDY


def test_a_full_disk_ends_a_run_that_can_be_done_again(tmp_path: Path) -> None:
    """Exit code 3 with one message; the partial directory can be read, and with room the run has the same results."""
    (tmp_path / "study.yaml").write_text(STUDY)
    arguments = ("run", "study.yaml", "--executor", "inline", "--set", "workload.count=3000", "--out")
    ended = run_guarded((*arguments, "run"), tmp_path, 60_000)
    assert ended.code == 3, ended.error
    (line,) = ended.error.splitlines()
    assert line.startswith("unfinished: run.partial: cannot be written any more: ")
    assert "File too large" in line
    assert pq.read_table(tmp_path / "run.partial" / "requests.parquet").num_rows == 0
    for out in ("run", "other"):
        assert run_guarded((*arguments, out), tmp_path).code == 0
    first, second = (json.loads((tmp_path / out / "manifest.json").read_text()) for out in ("run", "other"))
    assert first["digest"] == second["digest"]
    assert not (tmp_path / "run.partial").exists()
