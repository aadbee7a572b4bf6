"""Temporary folders of one process."""

import os
from pathlib import Path

from cluster_sim.directory_lock import DirectoryLock
from cluster_sim.own_folder import own_folder


def test_a_folder_is_private_and_goes(tmp_path: Path) -> None:
    """It is the user's alone, and nothing is left of it; an exception makes no difference."""
    with own_folder("test", tmp_path) as folder:
        assert folder.parent == tmp_path
        assert folder.name.startswith("cluster-sim-test-")
        assert folder.stat().st_mode & 0o077 == 0
        (folder / "file").write_text("")
    assert list(tmp_path.iterdir()) == []


def test_what_killed_processes_left_goes(tmp_path: Path) -> None:
    """Old folders of the purpose without a lock are removed; locked, new and other ones, and links, are left alone."""
    for name in ("test-killed", "test-live", "test-new", "other-killed"):
        (tmp_path / f"cluster-sim-{name}").mkdir()
        (tmp_path / f"cluster-sim-{name}" / "file").touch()
    (tmp_path / "cluster-sim-test-link").symlink_to(tmp_path / "cluster-sim-other-killed")
    with DirectoryLock(tmp_path / "cluster-sim-test-live"):
        for name in ("test-killed", "test-live", "other-killed"):
            os.utime(tmp_path / f"cluster-sim-{name}", (0, 0))
        with own_folder("test", tmp_path):
            pass
        left = {path.name.removeprefix("cluster-sim-") for path in tmp_path.iterdir()}
    assert left == {"test-live", "test-new", "other-killed", "test-link"}
