"""Commands that are told where to write: nothing of the user's is overwritten."""

import os
from pathlib import Path

import pyarrow.parquet as pq

from tests.cli.command import Command
from tests.small_run import run_small

CSV = "arrived_at,num_prefill_tokens,num_decode_tokens\n" + "".join(f"{second},50,9\n" for second in range(20))


def test_traces_and_fits_leave_their_input(command: Command, tmp_path: Path) -> None:
    """The trace itself, by whatever name, another file, a pipe and a device: exit 2, and all is as it was."""
    trace, other, pipe = tmp_path / "a.csv", tmp_path / "notes.txt", tmp_path / "pipe"
    trace.write_text(CSV)
    other.write_text("mine")
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to(trace)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    names = sorted(path.name for path in tmp_path.iterdir())
    for target in (trace, tmp_path / "link", other, pipe, tmp_path / "loop", tmp_path, Path("/dev/null")):
        for arguments in (("convert", trace, target), ("fit", trace, "-o", target)):
            code, text, error = command("workload", *arguments)
            assert (code, text) == (2, ""), target
            assert error.startswith(f"error: {target}: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert (trace.read_text(), other.read_text()) == (CSV, "mine")
    assert pipe.is_fifo()
    assert Path("/dev/null").is_char_device()


def test_own_outputs_are_written_again(command: Command, tmp_path: Path) -> None:
    """What a command has written it replaces, through a link too; the trace that a study replays it does not."""
    trace, link = tmp_path / "a.csv", tmp_path / "link.parquet"
    trace.write_text(CSV)
    written = tmp_path / "a.parquet"
    link.symlink_to(written)
    for target, first in ((written, 20), (link, 7)):
        assert command("workload", "convert", trace, target, "--first", first)[0] == 0
        assert pq.read_table(written).num_rows == first
    assert link.is_symlink()
    study = tmp_path / "study.yaml"
    study.write_text(
        "workload: {kind: trace, path: a.parquet}\nfleet: {pools: [{model: llama-3-8b, device: h100-sxm}]}\n"
    )
    code, _, error = command("workload", "convert", study, written, "--first", 2)
    assert (code, error) == (
        2, f"error: {written}: is an input of this command, which stays as it is; name another file\n",
    )  # fmt: skip
    for _ in range(2):
        assert command("workload", "fit", trace, "-o", tmp_path / "fit.yaml")[0] == 0
    assert (tmp_path / "fit.yaml").read_text().startswith("# Workload that cluster-sim workload fit wrote from a.csv\n")


def test_reports_replace_pages_only(command: Command, tmp_path: Path) -> None:
    """A study, a table of the run and a pipe stay; the page of before is replaced, its own or one that is named."""
    run = run_small(tmp_path).directory
    study, pipe = tmp_path / "study.yaml", tmp_path / "pipe"
    os.mkfifo(pipe)
    before = {path: path.read_bytes() for path in (study, *run.iterdir())}
    for target in (study, run / "summary.json", run / "requests.parquet", pipe, Path("/dev/null"), run):
        code, text, error = command("report", run, "-o", target)
        assert (code, text) == (2, "")
        assert error.startswith(f"error: {target}: ")
    assert {path: path.read_bytes() for path in (study, *run.iterdir())} == before
    code, _, error = command("report", run, "--trace", "-o", run / "trace.json")
    assert code == 2
    assert "another output of this command goes there" in error
    for _ in range(2):
        assert command("report", run, "-o", tmp_path / "page.html")[0] == 0
        assert command("report", run)[0] == 0


def test_profiles_replace_profiles_only(command: Command, tmp_path: Path) -> None:
    """A profile that is read, a study and what somebody wrote by hand stay, whichever command is to write there."""
    files = {name: tmp_path / name for name in ("mine.yaml", "mlp.csv", "p.parquet")}
    for name, file in files.items():
        file.write_text(f"{name} of mine")
    study, table, profile = files.values()
    hardware = ("--model", "llama-3-8b", "--device", "h100-sxm")
    for arguments, target in (
        (("calibrate", table, *hardware, "-o"), study),
        (("profile", "fit", profile, "-o"), profile),
        (("profile", "show", profile, "--html"), study),
        (("profile", "measure", *hardware, "--backend", "numpy", "--grid", "small", "-o"), study),
        (("profile", "import", "vidur", table, "--attention", table, *hardware, "-o"), table),
    ):
        code, _, error = command(*arguments, target)
        assert code == 2
        assert error.startswith(f"error: {target}: ")
        assert "name another file" in error
    assert {name: file.read_text() for name, file in files.items()} == {name: f"{name} of mine" for name in files}
