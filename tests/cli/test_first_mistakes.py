"""Mistakes that are made first: other units, separators and capitals, empty files, files of another run."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.cli.command import Command
from tests.small_run import run_small

MS = "arrived_at,num_prefill_tokens,num_decode_tokens\n1700000000000,5,5\n1700000000100,5,5\n"


def test_times_in_milliseconds(command: Command, tmp_path: Path) -> None:
    """Unix times in milliseconds are refused with the option that reads them, which then does."""
    trace, out = tmp_path / "a.csv", tmp_path / "a.parquet"
    trace.write_text(MS)
    code, _, error = command("workload", "convert", trace, out)
    assert code == 2
    assert "is greater than 1e+12; if times are in milliseconds, give timestamp_unit_s: 0.001" in error
    assert command("workload", "convert", trace, out, "--timestamp-unit-s", "0.001")[0] == 0
    assert pq.read_table(out).column("arrival_ns").to_pylist() == [0, 100_000_000]


def test_other_separators(command: Command, tmp_path: Path) -> None:
    """A file of semicolons says so."""
    trace = tmp_path / "a.csv"
    trace.write_text(MS.replace(",", ";"))
    code, _, error = command("workload", "describe", trace, "--format", "vidur")
    assert (code, error.rstrip().endswith("its columns are separated by semicolons: write commas")) == (2, True)


def test_one_message_about_an_unknown_device(command: Command, tmp_path: Path) -> None:
    """The option is named, and no key that nobody wrote."""
    trace = tmp_path / "a.csv"
    trace.write_text(MS)
    options = ("--model", "llama-3-8b", "--trace", trace, "--slo", "ttft_p99=2s", "--device")
    code, _, error = command("plan", *options, "H100-SXM")
    assert (code, len(error.splitlines())) == (2, 1)
    assert error.startswith(
        "error: --device H100-SXM: plan.devices.0: unknown name 'H100-SXM'; did you mean 'h100-sxm'?"
    )


def test_an_override_with_an_empty_part(command: Command, study_file: Path) -> None:
    """It is the override that is wrong, not a line of the file."""
    code, _, error = command("validate", study_file, "--set", "router..policy=random")
    assert (code, error.split(": ")[:2]) == (2, ["error", "--set router..policy=random"])
    assert "has an empty part" in error


@pytest.mark.parametrize(
    ("content", "words"),
    [("", "is empty"), ("\n", "is empty"), ("{}", "it has no keys. Known: "), ("[true]", "found a list of true")],
)
def test_comparison_with_no_benchmark(command: Command, tmp_path: Path, content: str, words: str) -> None:
    """What is wrong with a file is said without words of Python."""
    run = run_small(tmp_path, "workload.count=20").directory
    file = tmp_path / "bench.json"
    file.write_text(content)
    code, _, error = command("compare", run, file)
    assert code == 2
    assert error.startswith(f"error: {file}")
    assert words in error


def test_tables_of_another_run(command: Command, tmp_path: Path) -> None:
    """A summary that counts other requests than the table beside it holds is of another run: it is neither compared nor
    reported on nor explained.
    """
    one = run_small(tmp_path, "workload.count=20").directory
    other = run_small(tmp_path, "workload.count=30").directory
    shutil.copy(other / "requests.parquet", one)
    path = one / "requests.parquet"
    message = f"error: {path}: has 30 requests, but summary.json beside it counts 20: they are not of one run\n"
    for arguments in (("compare", one, other), ("report", one), ("explain", one, "3")):
        code, _, error = command(*arguments)
        assert (code, error) == (2, message)


def test_tables_of_another_run_of_as_many_requests(command: Command, tmp_path: Path) -> None:
    """The same requests with another seed take other times, which is told by the shortest and the longest of them; a
    series of a longer run, or of a larger fleet, is told by its last tick and replica.
    """
    one = run_small(tmp_path, "workload.count=20").directory
    other = run_small(tmp_path, "workload.count=20", "seed=8").directory
    kept = (one / "requests.parquet").read_bytes()
    shutil.copy(other / "requests.parquet", one)
    for arguments in (("compare", one, other), ("report", one), ("explain", one, "3")):
        code, _, error = command(*arguments)
        assert code == 2
        assert error.startswith(f"error: {one}/requests.parquet: its end-to-end times are not those of summary.json")
        assert error.endswith("they are not of one run\n")
        assert error.count("\n") == 1
    (one / "requests.parquet").write_bytes(kept)
    assert command("explain", one, "3")[0] == 0
    for override in ("workload.count=200", "fleet.pools.0.replicas=9"):
        shutil.copy(run_small(tmp_path, override, "run.series_interval_s=0.01").directory / "series.parquet", one)
        for arguments in (("report", one), ("explain", one, "3")):
            code, _, error = command(*arguments)
            assert code == 2
            assert error.startswith(f"error: {one}/series.parquet: goes up to ")


def test_files_of_a_smaller_run(command: Command, tmp_path: Path) -> None:
    """A series or counters of a shorter run of fewer replicas, a manifest and a resolved study of another run are told
    by the file's name; tables of earlier releases, which do not say whose they are, are read.
    """
    one = run_small(tmp_path, "workload.count=20").directory
    other = run_small(tmp_path, "workload.count=10", "fleet.pools.0.replicas=1").directory
    hashes = [json.loads((run / "manifest.json").read_text())["config_hash"] for run in (one, other)]
    not_one = "they are not of one run\n"
    swapped = (
        ("series.parquet", f"{one}/series.parquet: is of a run with the configuration {hashes[1]}, but manifest.json "),
        ("counters.parquet", f"{one}/counters.parquet: is of a run with the configuration {hashes[1]}, but manifest."),
        ("manifest.json", f"{one}/requests.parquet: is of a run with the configuration {hashes[0]}, but manifest.json"),
        ("resolved.yaml", f"{one}/resolved.yaml: is not the study of manifest.json beside it, or was changed after"),
    )
    for name, message in swapped:
        kept = (one / name).read_bytes()
        shutil.copy(other / name, one)
        for arguments in (("report", one), ("explain", one, "3")):
            code, text, error = command(*arguments)
            assert (code, text) == (2, "")
            assert error.startswith(f"error: {message}")
            assert error.endswith(not_one)
        code, _, error = command("compare", one, other)
        assert (code, error.endswith(not_one)) == ((2, True) if name == "manifest.json" else (0, False))
        (one / name).write_bytes(kept)
    for name in ("requests.parquet", "series.parquet", "counters.parquet"):
        pq.write_table(pq.read_table(one / name).replace_schema_metadata(None), one / name)
    assert [command(*arguments)[0] for arguments in (("report", one), ("explain", one, "3"))] == [0, 0]


def test_a_damaged_summary_is_told_without_words_of_python(command: Command, tmp_path: Path) -> None:
    """Where a value is of another kind, the message says that, and names the run."""
    run = run_small(tmp_path, "workload.count=20").directory
    summary = run / "summary.json"
    text = summary.read_text()
    start, end = text.index('"throughput": {'), text.index("}", text.index('"throughput": {')) + 1
    summary.write_text(f'{text[:start]}"throughput": null{text[end:]}')
    code, _, error = command("report", run)
    fault = "it lacks a value, or has one of another kind than runs write"
    assert (code, error) == (2, f"error: {run}: is damaged, or of another release: {fault}\n")
