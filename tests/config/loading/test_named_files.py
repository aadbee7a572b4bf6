"""Files that a study names: the hash counts what they hold, and written paths outlast a move."""

from pathlib import Path
from typing import Any

from cluster_sim.config.loading.canonical import config_hash, resolved_yaml, study_text
from cluster_sim.config.loading.named_files import content_of, movable
from cluster_sim.config.schema.study import Study
from cluster_sim.hardware.device import load_device

ROWS = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:10.0,200,20\n2023-11-16 18:15:11.0,300,30\n"


def study_of(trace: Path, **pool: Any) -> Study:
    """Return a study of a trace."""
    pools = [{"model": "llama-3-8b", "device": "h100-sxm", **pool}]
    return Study.from_dict({"workload": {"kind": "trace", "path": str(trace)}, "fleet": {"pools": pools}})


def written(path: Path, text: str = ROWS) -> Path:
    """Write a file; return its path."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_the_hash_counts_content(tmp_path: Path) -> None:
    """A trace of another name in another folder leaves the hash; one more row in it, at the same path, changes it."""
    trace = written(tmp_path / "a/trace.csv")
    first = config_hash(study_of(trace))
    assert config_hash(study_of(written(tmp_path / "b/other.csv"))) == first
    written(trace, f"{ROWS}2023-11-16 18:15:12.0,300,30\n")
    assert config_hash(study_of(trace)) != first


def test_a_device_of_ones_own_counts_by_content(tmp_path: Path) -> None:
    """Two files of the same device give the same hash, the library's name another: names are counted as they are."""
    trace, source = written(tmp_path / "trace.csv"), load_device("h100-sxm").model_dump_json(exclude_unset=True)
    files = [written(tmp_path / folder / "mine.json", source) for folder in "ab"]
    hashes = {config_hash(study_of(trace, device=str(file))) for file in files}
    assert len(hashes) == 1
    assert hashes != {config_hash(study_of(trace))}


def test_folders_and_what_is_not_there(tmp_path: Path) -> None:
    """Of a folder the names and contents of its files count; of what cannot be read the path does."""
    for folder in ("one", "two"):
        written(tmp_path / folder / "a.csv", "1")
    assert content_of(tmp_path / "one") == content_of(tmp_path / "two")
    (tmp_path / "two/a.csv").rename(tmp_path / "two/b.csv")
    assert content_of(tmp_path / "one") != content_of(tmp_path / "two")
    assert content_of(tmp_path / "none") == str(tmp_path / "none")


def test_paths_below_the_root_are_relative(tmp_path: Path) -> None:
    """A trace one folder up is written as ``../trace.csv`` if the root holds it, else by its whole path."""
    study = study_of(written(tmp_path / "plan/trace.csv"))
    own = tmp_path / "plan/model"
    for text in (study_text, resolved_yaml):
        assert "path: ../trace.csv\n" in text(study, movable(own, tmp_path / "plan"))
        assert f"path: {tmp_path}/plan/trace.csv\n" in text(study, movable(own, own))
        assert f"path: {tmp_path}/plan/trace.csv\n" in text(study)
