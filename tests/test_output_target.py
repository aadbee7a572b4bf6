"""Replacement of files by commands that are told where to write."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster_sim.errors import InputError
from cluster_sim.output_target import FITTED_WORKLOAD, PAGE, TRACE, FileKind, check_target, texts_in

PAGE_TEXT = '<!doctype html>\n<html lang="en"><title>mine - cluster_sim</title></html>\n'


@pytest.mark.parametrize(
    ("kind", "content", "is_allowed"),
    [
        (PAGE, "", True),
        (PAGE, PAGE_TEXT, True),
        (PAGE, "<!DOCTYPE html><title>a page of somebody</title>", False),
        (PAGE, "name: study\n", False),
        (FITTED_WORKLOAD, f"{FITTED_WORKLOAD.begins.decode()} from a.csv\nworkload: {{}}\n", True),
        (FITTED_WORKLOAD, "workload: {}\n", False),
        (TRACE, "PAR1PAR1", False),
        (TRACE, "arrived_at\n", False),
    ],
)
def test_only_files_of_the_same_kind_are_replaced(
    tmp_path: Path, kind: FileKind, content: str, is_allowed: bool
) -> None:
    """An empty file and one that such a command wrote may go; whatever else is there stays, and the reason is told."""
    file = tmp_path / "file"
    file.write_text(content, encoding="utf-8")
    if is_allowed:
        check_target(file, kind)
        with pytest.raises(InputError, match="is an input of this command"):
            check_target(file, kind, ["llama-3-8b", "no\0name", str(tmp_path / "." / "file")])
    else:
        with pytest.raises(InputError, match=r"file: exists already and is not an? .*; name another file, or remove"):
            check_target(file, kind)


def test_parquet_files_are_known_by_their_metadata(tmp_path: Path) -> None:
    """A Parquet table without the mark of a trace is somebody else's, also if a column is called so."""
    file, table = tmp_path / "t.parquet", pa.table({"a": [1]})
    pq.write_table(table, file)
    with pytest.raises(InputError, match="is not a trace of `workload convert`"):
        check_target(file, TRACE)
    pq.write_table(table.replace_schema_metadata({TRACE.holds: b"1"}), file)
    check_target(file, TRACE)


def test_a_folder_must_be_there(tmp_path: Path) -> None:
    """Without it the command ends before its work, unless it makes the folder."""
    with pytest.raises(InputError, match=r"none/page.html: cannot be written: there is no directory .*none$"):
        check_target(tmp_path / "none" / "page.html", PAGE)
    check_target(tmp_path / "none" / "page.html", PAGE, is_folder_made=True)


def test_texts_of_a_document() -> None:
    """Paths stand at any depth."""
    assert list(texts_in({"a": ["b", {"c": ("d", 1)}], "e": None, "f": "g"})) == ["b", "d", "g"]
