"""Files that travel with tasks."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

from actors import study_files
from actors.study_files import SentFile, SentFiles, file_names, with_own_files
from cluster_sim.config.schema.study import Study
from cluster_sim.study.replications import ReplicationTask
from tests.small_run import small_study


class Pair(NamedTuple):
    study: Study
    number: int


@dataclass(frozen=True)
class Cut:
    folders: dict[str, list[Path]]


def with_trace(folder: Path) -> Study:
    trace = folder / "trace.csv"
    trace.write_text("arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,10,2\n1.0,20,3\n")
    return small_study(folder).with_changes({"workload": {"kind": "trace", "path": str(trace), "format": "vidur"}})


def test_files_of_a_task(tmp_path: Path) -> None:
    """Every file and folder that exists is named, wherever it stands in a task; other texts are not."""
    study = with_trace(tmp_path)
    assert set(file_names(study)) == {str(tmp_path / "trace.csv")}
    assert set(file_names(ReplicationTask(study))) == {str(tmp_path / "trace.csv")}
    assert set(file_names(Cut({"a": [tmp_path, Path("/nowhere")]}))) == {str(tmp_path)}
    assert not set(file_names(("/", "text", 3)))


def test_another_node_reads_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On another node a task names copies with the same names and content, written once; here it is left alone."""
    task = Pair(with_trace(tmp_path), 3)
    name = str(tmp_path / "trace.csv")
    (tmp_path / "folder" / "in").mkdir(parents=True)
    (tmp_path / "folder" / "in" / "it").write_text("deep")
    taken = []

    def get(reference: Path) -> dict[str, bytes]:
        taken.append(reference)
        return study_files._content(reference)

    monkeypatch.setattr(study_files.ray, "get", get)
    files = {place: SentFile(Path(place).name, Path(place)) for place in (name, str(tmp_path / "folder"))}
    monkeypatch.setattr(study_files, "_node", lambda: "there")
    assert with_own_files(task, SentFiles("there", files)) is task
    moved = with_own_files(task, SentFiles("here", files))
    assert isinstance(moved, Pair)
    (copy,) = file_names(moved)
    assert copy != name
    assert Path(copy).name == "trace.csv"
    assert Path(copy).read_bytes() == Path(name).read_bytes()
    assert with_own_files(task, SentFiles("here", files)) == moved
    folder = with_own_files(Cut({"a": [tmp_path / "folder"]}), SentFiles("here", files)).folders["a"][0]
    assert (folder / "in" / "it").read_text() == "deep"
    assert len(taken) == 2
