"""The contract of every trace format, tried on the format's own sample."""

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from cluster_sim.errors import InputError
from cluster_sim.workload.columns import Columns, concatenate
from cluster_sim.workload.readers.reader_interface import NO_TIME, ReadOptions, ReadReport
from cluster_sim.workload.readers.trace_format import AUTO, TRACE_READERS, find_reader
from tests.parts import every_name


def sample_file(name: str, folder: Path) -> Path:
    path = folder / "sample"
    path.write_bytes(TRACE_READERS.get(name).part.sample)
    return path


def read(name: str, path: Path, **options: bool) -> Columns:
    reader = find_reader(name, path)
    return concatenate(list(reader.blocks(path, ReadOptions(prefixes=options.get("prefixes", True)), ReadReport())))


@every_name(TRACE_READERS)
def test_a_sample_is_read(name: str, tmp_path: Path) -> None:
    """A sample has rows, in order of time from the start (or without times, if the format says so)."""
    rows = read(name, sample_file(name, tmp_path))
    assert len(rows) >= 2
    assert all(column.dtype == np.int64 for column in (rows.arrival_ns, rows.prompt_tokens, rows.output_tokens))
    assert rows.prompt_tokens.min() >= 1
    assert rows.output_tokens.min() >= 1
    if TRACE_READERS.get(name).part.has_times:
        assert rows.arrival_ns.min() >= 0
    else:
        assert set(rows.arrival_ns.tolist()) == {NO_TIME}


@every_name(TRACE_READERS)
def test_content_covers_the_prompt(name: str, tmp_path: Path) -> None:
    """Segments of a prompt, where the format has them, add up to its tokens; without prefixes there are none."""
    path = sample_file(name, tmp_path)
    rows = read(name, path)
    for tokens, attributes in zip(rows.prompt_tokens.tolist(), rows.attribute_list(), strict=True):
        assert sum(count for _, count in attributes.segments) in {0, tokens}
    plain = read(name, path, prefixes=False)
    assert all(not attributes.segments for attributes in plain.attribute_list())
    assert np.array_equal(plain.prompt_tokens, rows.prompt_tokens)


@every_name(TRACE_READERS)
def test_a_file_says_its_format_or_must_be_named(name: str, tmp_path: Path) -> None:
    """``auto`` finds the format of a sample; only a format that recognises nothing may be taken for another."""
    path = sample_file(name, tmp_path)
    reader = TRACE_READERS.get(name).part
    found = type(find_reader(AUTO, path))
    assert (found is reader) == find_reader(name, path).recognises(path, path.read_bytes())


@every_name(TRACE_READERS)
def test_turns_wait_for_earlier_ones(name: str, tmp_path: Path) -> None:
    """Where a sample holds sessions, every turn waits for an earlier one of its session, or has a start."""
    path = sample_file(name, tmp_path)
    reader = find_reader(name, path)
    if not reader.holds_sessions(path):
        pytest.skip("rows that wait for nothing")
    for session in reader.sessions(path, ReadOptions(), ReadReport()):
        assert session.turns
        for index, turn in enumerate(session.turns):
            assert -1 <= turn.after < index or turn.after == -1
            assert min(turn.prompt_tokens, turn.output_tokens) >= 1
            assert turn.delay_ns >= 0


@every_name(TRACE_READERS)
def test_reading_twice_gives_the_same(name: str, tmp_path: Path) -> None:
    """A reader keeps nothing of one pass for the next: traces are read twice."""
    path = sample_file(name, tmp_path)
    reader = find_reader(name, path)
    once, twice = (concatenate(list(reader.blocks(path, ReadOptions(), ReadReport()))) for _ in range(2))
    assert np.array_equal(once.arrival_ns, twice.arrival_ns)
    assert np.array_equal(once.prompt_tokens, twice.prompt_tokens)
    assert once.attribute_list() == twice.attribute_list()


@every_name(TRACE_READERS)
def test_compression_is_told_by_content(name: str, tmp_path: Path) -> None:
    """Formats of text are read from gzip and zstd as from plain files."""
    plain = read(name, sample_file(name, tmp_path))
    sample = TRACE_READERS.get(name).part.sample
    if b"\x00" in sample:
        pytest.skip("a binary format, which compresses by itself")
    path = tmp_path / "compressed"
    for data in (gzip.compress(sample), pa.compress(sample, "zstd", asbytes=True)):
        path.write_bytes(data)
        assert np.array_equal(read(name, path).prompt_tokens, plain.prompt_tokens)


@every_name(TRACE_READERS)
def test_missing_files_and_folders_are_refused(name: str, tmp_path: Path) -> None:
    """A file that is not there, a folder, and an empty file each have one message that names the path."""
    (tmp_path / "empty").touch()
    for path in (tmp_path / "missing", tmp_path, tmp_path / "empty"):
        with pytest.raises(InputError) as caught:
            read(name, path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)
