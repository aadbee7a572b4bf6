"""Writing a file whole or not at all."""

import os
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


def test_links_are_followed(tmp_path: Path) -> None:
    """What a link leads to is written, also where it is not there yet; the link stays.  One in a ring is refused."""
    link, file, ring = tmp_path / "link", tmp_path / "folder" / "file", tmp_path / "ring"
    file.parent.mkdir()
    link.symlink_to(file)
    ring.symlink_to(ring)
    for text in ("first", "second"):
        with whole_file(link) as partial:
            partial.write_text(text)
        assert (link.is_symlink(), file.read_text()) == (True, text)
    with whole_set() as place:
        place(link).write_text("third")
    assert (link.is_symlink(), file.read_text()) == (True, "third")
    assert [path.name for path in file.parent.iterdir()] == ["file"]
    with pytest.raises(InputError, match="is a link that leads to itself"), whole_file(ring):
        pytest.fail("nothing may be written")


def test_pipes_and_devices_stay(tmp_path: Path) -> None:
    """What is no plain file is refused, in a set too, and is not replaced by one."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, kind in ((pipe, "a pipe"), (Path("/dev/null"), "a device")):
        with pytest.raises(UnfinishedError, match=f"{path}: cannot be written: it is {kind}; name a file"):  # noqa: SIM117
            with whole_file(path, UnfinishedError):
                pytest.fail("nothing may be written")
        with pytest.raises(InputError, match=f"it is {kind}"), whole_set() as place:
            place(path)
    assert pipe.is_fifo()


def test_files_that_are_called_alike_stay(tmp_path: Path) -> None:
    """A user's file with the suffix of an unfinished one is not touched; two outputs at one place are refused."""
    for suffix in ("partial", "new"):
        (tmp_path / f"a.{suffix}").write_text("mine")
    with whole_file(tmp_path / "a") as partial, whole_set() as place:
        partial.write_text("x")
        place(tmp_path / "b").write_text("y")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "a": "x", "b": "y", "a.partial": "mine", "a.new": "mine",
    }  # fmt: skip
    with whole_set() as place:
        place(tmp_path / "b").write_text("z")
        with pytest.raises(InputError, match="another output of this command goes there"):
            place(tmp_path / "." / "b")
