"""Tests of the file of a run's last snapshot."""

from pathlib import Path

import pytest

from cluster_sim.errors import InputError
from cluster_sim.output.snapshot_file import (
    SNAPSHOT_FILE,
    StoredSnapshot,
    check_head,
    files_fingerprint,
    new_head,
    read_snapshot,
    write_snapshot,
)

HEAD = new_head("abc", "inputs")
STORED = StoredSnapshot(
    HEAD._replace(series_parts=("a", "b"), simulated_ns=7, wall_s=1.5), b"router" * 99, (b"one", b"two"), ((1, 3), (2,))
)


def test_a_snapshot_comes_back(tmp_path: Path) -> None:
    """The last one written is read; without one there is none; nothing else stays in the folder."""
    assert read_snapshot(tmp_path) is None
    write_snapshot(tmp_path, STORED._replace(router=b"older"))
    write_snapshot(tmp_path, STORED)
    assert read_snapshot(tmp_path) == STORED
    assert [path.name for path in tmp_path.iterdir()] == [SNAPSHOT_FILE]


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    """A byte that differs anywhere, a file that is cut or is something else ends in one message."""
    write_snapshot(tmp_path, STORED)
    path = tmp_path / SNAPSHOT_FILE
    good = path.read_bytes()
    damaged = [good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :] for place in range(0, len(good), 3)]
    for data in [*damaged, good[:-1], good[:10], b"", b"x" * 200, good + b"x"]:
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"snapshot: (is damaged|is no snapshot|has version).*leave out --resume"):
            read_snapshot(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "0.0.1"}, r"was written by another version 0\.0\.1 of the program"),
        ({"code": "other"}, "was written by another version of the program"),
        ({"config_hash": "def"}, r"belongs to another study \(configuration def, not abc\)"),
        ({"inputs": "other"}, "a file that the study reads has changed"),
    ],
)
def test_foreign_snapshots_are_refused(change: dict[str, str], message: str, tmp_path: Path) -> None:
    """A snapshot of another program, study or input says so."""
    check_head(tmp_path, STORED.head, HEAD)
    with pytest.raises(InputError, match=message):
        check_head(tmp_path, STORED.head._replace(**change), HEAD)


def test_fingerprints_follow_the_content(tmp_path: Path) -> None:
    """A file or folder has one fingerprint until a byte in it changes."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    paths = [tmp_path / "b", tmp_path / "folder"]
    before = files_fingerprint(paths)
    assert files_fingerprint(reversed(paths)) == before
    (tmp_path / "folder" / "a").write_text("3")
    assert files_fingerprint(paths) != before
