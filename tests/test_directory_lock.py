"""Lock of a directory: one process at a time holds it, by name, and a dead one never does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster_sim.directory_lock import LOCK_FILE, DirectoryLock
from cluster_sim.errors import InputError

HOLDER = (
    "import sys, pathlib; from cluster_sim.directory_lock import DirectoryLock; "
    "lock = DirectoryLock(pathlib.Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
)


def holder(directory: Path) -> "subprocess.Popen[bytes]":
    """Start a process that holds the lock of a directory."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def test_second_holder_is_refused(tmp_path: Path) -> None:
    """While one holds the lock another is refused, with the holder's process; afterwards the file is gone."""
    with DirectoryLock(tmp_path) as lock:
        with pytest.raises(InputError, match=rf"^{tmp_path}: process {os.getpid()} on .* is writing here; wait until"):
            DirectoryLock(tmp_path)
        assert (tmp_path / LOCK_FILE).exists()
    assert list(tmp_path.iterdir()) == []
    lock.release()
    DirectoryLock(tmp_path).release()


def test_lock_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    """A process that is killed leaves the file behind but not the lock."""
    with holder(tmp_path) as process:
        with pytest.raises(InputError, match=f"process {process.pid} on "):
            DirectoryLock(tmp_path)
        process.kill()
        process.wait()
    assert f"process {process.pid} on " in (tmp_path / LOCK_FILE).read_text(encoding="utf-8")
    with DirectoryLock(tmp_path), pytest.raises(InputError, match=f"process {os.getpid()} on "):
        DirectoryLock(tmp_path)


def test_directory_that_takes_the_name_keeps_its_own_lock(tmp_path: Path) -> None:
    """A holder whose directory was renamed does not remove the lock of another that has the name since."""
    place = tmp_path / "out"
    place.mkdir()
    lock = DirectoryLock(place)
    place.rename(tmp_path / "away")
    place.mkdir()
    with DirectoryLock(place):
        lock.release()
        assert (place / LOCK_FILE).exists()


def test_missing_directory_is_wrong_input(tmp_path: Path) -> None:
    """A directory that is not there gives one message that names it."""
    with pytest.raises(InputError, match=r"absent: cannot be written: No such file or directory"):
        DirectoryLock(tmp_path / "absent")
