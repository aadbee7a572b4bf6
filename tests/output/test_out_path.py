"""Places that a caller may name for results."""

from pathlib import Path

import pytest

from cluster_sim.errors import InputError
from cluster_sim.output.out_path import result_path
from cluster_sim.output.run_directory import RESOLVED_FILE, RunDirectory


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (".", "is the working directory or above it"),
        ("..", "is the working directory or above it"),
        ("../..", "is the working directory or above it"),
        ("x" * 241, r"the name is longer than 240 bytes; give a shorter one"),
        ("x/" * 3000, "cannot be a directory"),
        ("a\0b", "cannot be a directory"),
        ("file/run", "file is a file, not a directory"),
        ("loop", "cannot be "),
    ],
)
def test_places_that_no_run_can_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, message: str) -> None:
    """Each is refused with what is wrong, and nothing is made."""
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    Path("file").write_text("")
    Path("loop").symlink_to("loop")
    with pytest.raises(InputError, match=message):
        RunDirectory(Path(out))
    assert sorted(path.name for path in Path().iterdir()) == ["file", "loop"]


def test_links_are_followed(tmp_path: Path) -> None:
    """Results of a link go where it leads, to a directory that is there or not."""
    (tmp_path / "there").mkdir()
    for name in ("there", "later"):
        (tmp_path / f"to_{name}").symlink_to(tmp_path / name)
        assert result_path(tmp_path / f"to_{name}") == tmp_path / name
    with RunDirectory(tmp_path / "to_later") as directory:
        directory.complete({}, {})
    assert (tmp_path / "to_later").is_symlink()
    assert (tmp_path / "later" / "summary.json").exists()


def test_the_longest_name_can_be_completed_twice(tmp_path: Path) -> None:
    """A name just short enough leaves room for what a run beside it needs."""
    for _ in range(2):
        with RunDirectory(tmp_path / ("x" * 240)) as directory:
            directory.complete({}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["x" * 240]


def test_an_empty_partial_directory_is_taken_over(tmp_path: Path) -> None:
    """A crash between making the directory and its first file leaves an empty one; one with other things is kept."""
    (tmp_path / "run.partial").mkdir()
    with RunDirectory(tmp_path / "run") as directory:
        directory.write_text(RESOLVED_FILE, "")
    (tmp_path / "other.partial").mkdir()
    (tmp_path / "other.partial" / "notes").write_text("")
    with pytest.raises(InputError, match="is not what a run left behind"):
        RunDirectory(tmp_path / "other")
    (tmp_path / "link.partial").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is not what a run left behind"):
        RunDirectory(tmp_path / "link")


def test_a_home_directory_is_written_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries read ``~`` in different ways, so it is refused where no command line has replaced it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"--out ~/run: begins with ~, which stands for a home directory"):
        result_path(Path("~/run"))
    assert result_path(Path("~nobody-of-that-name")) == Path("~nobody-of-that-name")
