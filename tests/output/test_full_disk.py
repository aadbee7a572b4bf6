"""Runs whose files cannot grow any more, as on a full disk."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.faults.disturbed import files_of
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


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(place)], check=False)
    if mounted.returncode:
        pytest.skip("needs the right to mount a disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.parametrize("executor", ["inline", pytest.param("ray", marks=pytest.mark.ray)])
def test_a_disk_that_fills_up_half_way_is_waited_for(executor: str, tmp_path: Path, disk: Path) -> None:
    """Exit code 3 with one message that says how to resume; with room again the run goes on to the same files."""
    (tmp_path / "study.yaml").write_text(STUDY)
    command = [sys.executable, "-m", "cluster_sim", "run", "study.yaml", "--set", "run.snapshot_interval_s=0.3"]
    command += ["--set", "workload.count=600", "--set", "run.actors=2"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}

    def run(*more: str) -> "subprocess.Popen[str]":
        outputs = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        return subprocess.Popen([*command, *more], cwd=tmp_path, env=environment, text=True, **outputs)

    assert run("--executor", "inline", "--out", "whole").wait() == 0
    disturbed = run("--executor", executor, "--out", str(disk / "run"), "--speedup", "3")
    ballast = disk / "ballast"
    while disturbed.poll() is None and not (disk / "run.partial" / "snapshot").exists():
        time.sleep(0.05)
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    _, error = disturbed.communicate()
    assert disturbed.returncode == 3, error
    assert "No space left on device" in error
    assert f"`cluster-sim run {disk / 'run'} --resume` goes on from its last snapshot" in error
    ballast.unlink()
    resumed = run("--executor", executor, "--out", str(disk / "run"), "--resume")
    _, error = resumed.communicate()
    assert resumed.returncode == 0, error
    assert files_of(disk / "run") == files_of(tmp_path / "whole")
    assert len(list((disk / "run").iterdir())) == len(list((tmp_path / "whole").iterdir()))
