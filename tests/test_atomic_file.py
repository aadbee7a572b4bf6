"""Writing a file whole or not at all."""

from pathlib import Path

import pytest

from cluster_sim.atomic_file import whole_file, whole_set
from cluster_sim.errors import InputError, UnfinishedError


def test_the_file_appears_when_the_block_has_ended(tmp_path: Path) -> None:
    """Until then whoever reads finds the old content; afterwards the new one and nothing else."""
    path = tmp_path / "größe.txt"
    path.write_text("old", encoding="utf-8")
    with whole_file(path) as partial:
        partial.write_text("new", encoding="utf-8")
        assert path.read_text(encoding="utf-8") == "old"
    assert path.read_text(encoding="utf-8") == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_broken_block_leaves_what_was_there(tmp_path: Path) -> None:
    """An error of any kind goes through, the old file stays and the partial one goes."""
    path = tmp_path / "a"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(ValueError, match="broken"), whole_file(path) as partial:  # noqa: PT012
        partial.write_text("half", encoding="utf-8")
        raise ValueError("broken")
    assert [path.read_text(encoding="utf-8") for path in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize("failure", [InputError, UnfinishedError])
@pytest.mark.parametrize("place", ["nowhere/a", "file/a"])
def test_what_cannot_be_written_is_told(tmp_path: Path, failure: type[Exception], place: str) -> None:
    """A folder that is not there, or is a file: the caller's kind of error names the file."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(failure, match=rf"{place}: cannot be written: "), whole_file(tmp_path / place, failure) as it:
        it.write_text("x", encoding="utf-8")


@pytest.mark.parametrize("path", [Path(), Path(".."), Path("/")])
def test_a_directory_is_no_file(path: Path) -> None:
    """Paths without a name, and directories, are refused before anything is written."""
    with pytest.raises(InputError, match="is a directory; name a file"), whole_file(path):
        pytest.fail("nothing may be written")


def test_a_set_of_files_appears_together(tmp_path: Path) -> None:
    """All files of a set take their names at the end; after an error none does, and those of before stay."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("old")
    with pytest.raises(KeyError), whole_set() as place:  # noqa: PT012
        place(first).write_text("new")
        place(second).write_text("new")
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["first"]
    assert first.read_text() == "old"
    with whole_set() as place:
        for file in (first, second):
            place(file).write_text("new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]
    assert first.read_text() == second.read_text() == "new"
    with pytest.raises(InputError, match="there is no directory"), whole_set() as place:
        place(tmp_path / "none" / "file")
