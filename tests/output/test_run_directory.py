"""Tests of the directory of one run."""

import errno
import json
from pathlib import Path

import pytest

from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.output.run_directory import RunDirectory, read_manifest


def _complete(path: Path, digest: str) -> Path:
    with RunDirectory(path) as directory:
        directory.write_text("resolved.yaml", "name: x\n")
        return directory.complete({"simulated_s": 1.0}, {"digest": digest})


def test_complete_run_is_renamed(tmp_path: Path) -> None:
    """A complete run has all its files under the final name and no partial directory beside it."""
    final = _complete(tmp_path / "runs" / "a", "00")
    assert sorted(path.name for path in final.iterdir()) == [
        "manifest.json", "resolved.yaml", "summary.json",
    ]  # fmt: skip
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["a"]
    assert json.loads((final / "summary.json").read_text()) == {"simulated_s": 1.0}


def test_complete_run_replaces_the_one_before(tmp_path: Path) -> None:
    """A second run of the same name takes the place of the first, which stays whole until then."""
    final = _complete(tmp_path / "a", "00")
    with RunDirectory(final) as directory:
        assert read_manifest(final) == {"digest": "00"}
        directory.complete({}, {"digest": "01"})
    assert read_manifest(final) == {"digest": "01"}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_wrong_input_leaves_nothing(tmp_path: Path) -> None:
    """An input error deletes everything written, and the directory made above it."""
    with pytest.raises(InputError), RunDirectory(tmp_path / "runs" / "a") as directory:  # noqa: PT012
        directory.write_text("resolved.yaml", "name: x\n")
        raise InputError("trace.csv:3: tokens must be positive")
    assert not list(tmp_path.iterdir())


def test_unfinished_run_is_kept(tmp_path: Path) -> None:
    """A run that could not finish keeps its partial directory and never shows the final name."""
    with pytest.raises(UnfinishedError), RunDirectory(tmp_path / "a") as directory:
        raise UnfinishedError("replica 3 is gone")
    assert directory.partial.is_dir()
    assert not directory.final.exists()


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), UnfinishedError("replica 3 is gone")])
def test_what_is_kept_is_named(tmp_path: Path, stop: BaseException) -> None:
    """A run that is interrupted or cannot go on says where lies what it wrote."""
    with (
        pytest.raises(UnfinishedError, match=r"what was written so far is in .*a\.partial"),
        RunDirectory(tmp_path / "a"),
    ):
        raise stop


def test_full_disk_ends_the_run_unfinished(tmp_path: Path) -> None:
    """A disk error is one message and keeps what is written, while other system errors pass as they are."""
    with pytest.raises(UnfinishedError, match="No space left"), RunDirectory(tmp_path / "a") as directory:
        raise OSError(errno.ENOSPC, "No space left on device")
    assert directory.partial.is_dir()
    with pytest.raises(ConnectionResetError), RunDirectory(tmp_path / "b"):
        raise ConnectionResetError(errno.ECONNRESET, "peer is gone")


def test_foreign_directory_is_refused(tmp_path: Path) -> None:
    """A directory that holds something else than a run is never replaced; an empty one may be used."""
    foreign = tmp_path / "thesis"
    foreign.mkdir()
    _complete(foreign, "00")
    other = tmp_path / "home"
    other.mkdir()
    (other / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="not the directory of a run"):
        RunDirectory(other)
    assert (other / "letter.txt").exists()


def test_only_a_runs_remains_are_removed(tmp_path: Path) -> None:
    """What an earlier run left at the partial name is removed; anything else there is refused and left alone."""
    partial = tmp_path / "a.partial"
    partial.mkdir()
    (partial / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="is not what a run left behind"):
        RunDirectory(tmp_path / "a")
    assert (partial / "letter.txt").exists()
    (partial / "resolved.yaml").write_text("name: x\n")
    RunDirectory(tmp_path / "a")
    assert not list(partial.iterdir())


def test_a_run_with_a_snapshot_is_not_removed(tmp_path: Path) -> None:
    """What a run left behind that can go on is refused with what to do, and stays; with --resume it is taken."""
    partial = tmp_path / "a.partial"
    partial.mkdir()
    for name in ("resolved.yaml", "snapshot"):
        (partial / name).write_text("x")
    with pytest.raises(InputError, match=r"a\.partial holds a run that was broken off.*--resume, or remove it"):
        RunDirectory(tmp_path / "a")
    RunDirectory(tmp_path / "a", resumes=True)
    assert len(list(partial.iterdir())) == 2


def test_a_run_at_work_is_not_called_broken_off(tmp_path: Path) -> None:
    """While another process writes, its snapshot is none to go on from, nor is anything to be removed."""
    directory = RunDirectory(tmp_path / "a")
    for name in ("resolved.yaml", "snapshot"):
        directory.write_text(name, "x")
    with pytest.raises(InputError, match=r"another run is writing .*a\.partial; wait for its end, or give another"):
        RunDirectory(tmp_path / "a")
    directory.__exit__(None, None, None)
    with pytest.raises(InputError, match="broken off"):
        RunDirectory(tmp_path / "a")


def test_the_root_is_no_run() -> None:
    """A path without a name is wrong input."""
    with pytest.raises(InputError, match="is the working directory or above it"):
        RunDirectory(Path("/"))


def test_unwritable_place_is_one_message(tmp_path: Path) -> None:
    """A path below a file is wrong input, not a traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file, not a directory"):
        RunDirectory(tmp_path / "file" / "run")


def test_json_refuses_nan(tmp_path: Path) -> None:
    """NaN never reaches a JSON file."""
    with RunDirectory(tmp_path / "a") as directory, pytest.raises(ValueError, match="JSON"):
        directory.write_json("bench.json", {"x": float("nan")})


def test_two_runs_cannot_write_the_same_directory(tmp_path: Path) -> None:
    """While a run writes, another one with the same directory is refused and takes nothing away from the first."""
    with RunDirectory(tmp_path / "a") as first:
        first.write_text("resolved.yaml", "name: x\n")
        with pytest.raises(InputError, match=r"another run is writing .*a\.partial"):
            RunDirectory(tmp_path / "a")
        first.complete({}, {"digest": "00"})
    assert (tmp_path / "a" / "resolved.yaml").exists()
    _complete(tmp_path / "a", "01")


def test_a_neighbour_is_left_alone(tmp_path: Path) -> None:
    """Replacing a run touches no other directory, whatever its name, and leaves nothing beside the run."""
    _complete(tmp_path / "a", "00")
    backup = tmp_path / "a.old"
    backup.mkdir()
    (backup / "letter.txt").write_text("dear")
    _complete(tmp_path / "a", "01")
    assert (backup / "letter.txt").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "a.old"]
