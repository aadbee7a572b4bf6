"""Numbered parts of a table."""

from pathlib import Path

import pytest

from cluster_sim.errors import UnfinishedError
from cluster_sim.output.part_files import PartFiles


def test_two_processes_never_write_one_part(tmp_path: Path) -> None:
    """What still writes a table after another process has gone on with it is stopped at its next part."""
    earlier, later = PartFiles(tmp_path / "a.parquet"), PartFiles(tmp_path / "a.parquet")
    earlier.begin().write_text("1")
    earlier.seal()
    later.keep(earlier.digests)
    assert later.begin() == tmp_path / "a-00002.parquet"
    with pytest.raises(UnfinishedError, match=r"a-00002\.parquet: another process still writes it"):
        earlier.begin()


def test_parts_behind_a_snapshot_are_removed(tmp_path: Path) -> None:
    """Whoever goes on behind the first part removes all later ones, and whoever begins removes all."""
    parts = PartFiles(tmp_path / "a.parquet")
    for text in "123":
        parts.begin().write_text(text)
        parts.seal()
    again = PartFiles(tmp_path / "a.parquet")
    again.keep(parts.digests[:1])
    assert [path.name for path in tmp_path.iterdir()] == ["a-00001.parquet"]
    assert PartFiles(tmp_path / "a.parquet").begin().read_text() == ""
