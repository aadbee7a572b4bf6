"""Records of the study that a directory of results was begun with: its keys, and the files that it reads."""

import hashlib
from pathlib import Path

import pytest

from cluster_sim.config.loading.load import load_study
from cluster_sim.config.loading.named_files import movable
from cluster_sim.errors import InputError
from cluster_sim.study.study_record import check_record, is_record_of, record_text

STUDY = """\
workload: {kind: trace, path: trace.csv}
fleet: {pools: [{model: llama-3-8b, device: h100-sxm, engine: {kind: vllm_v1}}]}
predictor: {kind: roofline}
"""
ROWS = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:00:00,400,90\n2023-11-16 18:00:05,410,91\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a study and its trace."""
    (tmp_path / "trace.csv").write_text(ROWS)
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path


def test_a_file_that_was_edited_in_place_is_named(folder: Path) -> None:
    """A record holds the hash of the trace; with one digit changed it is another input, restored it is the same."""
    trace, record = folder / "trace.csv", folder / "plan.yaml"
    study = load_study(folder / "study.yaml")
    text = record_text(study)
    assert text.splitlines()[1].startswith(f'# Reads "{trace}", SHA-256 ')
    record.write_text(text)
    check_record(record, study, "plan")
    assert is_record_of(record, study)
    trace.write_text(ROWS.replace(",400,", ",500,"))
    assert not is_record_of(record, study)
    with pytest.raises(InputError, match=rf"holds a plan of other input .*: {trace} has changed since .* restore it"):
        check_record(record, study, "plan")
    trace.write_text(ROWS)
    check_record(record, study, "plan")
    trace.unlink()
    with pytest.raises(InputError, match=r"trace\.csv has changed"):
        check_record(record, study, "plan")


def test_the_hash_is_that_of_the_content(folder: Path) -> None:
    """By hand: SHA-256 over an empty name, a zero byte and the SHA-256 of the file's bytes."""
    inner = hashlib.sha256(ROWS.encode()).digest()
    outer = hashlib.sha256(b"\0" + inner).hexdigest()
    assert outer in record_text(load_study(folder / "study.yaml"))


def test_files_of_a_folder_that_is_moved(folder: Path) -> None:
    """A file that moves with the record is looked for where it lies then; an edit after that is seen."""
    study = load_study(folder / "study.yaml")
    place = folder / "there"
    place.mkdir()
    (folder / "trace.csv").rename(place / "trace.csv")
    moving = study.model_copy(update={"workload": study.workload.model_copy(update={"path": str(place / "trace.csv")})})
    (place / "plan.yaml").write_text(record_text(moving, movable(place, place)))
    place.rename(folder / "here")
    record, trace = folder / "here/plan.yaml", folder / "here/trace.csv"
    moved = study.model_copy(update={"workload": study.workload.model_copy(update={"path": str(trace)})})
    check_record(record, moved, "plan")
    trace.write_text(ROWS + ROWS.splitlines()[-1] + "\n")
    with pytest.raises(InputError, match=r"trace\.csv has changed"):
        check_record(record, moved, "plan")


def test_a_record_of_an_earlier_commit_is_taken(folder: Path) -> None:
    """One that names no file says nothing of their content."""
    study, record = load_study(folder / "study.yaml"), folder / "plan.yaml"
    record.write_text("".join(line for line in record_text(study).splitlines(True) if "# Reads" not in line))
    (folder / "trace.csv").write_text(ROWS.replace(",400,", ",500,"))
    check_record(record, study, "plan")
