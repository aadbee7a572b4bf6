"""Runs that are broken off and resumed leave what undisturbed ones leave."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.interruption import INTERRUPTION
from cluster_sim.output.snapshot_file import SNAPSHOT_FILE
from cluster_sim.simulation import disk_checkpoints, run
from cluster_sim.simulation.disk_checkpoints import DiskCheckpoints
from cluster_sim.simulation.run import run_study
from cluster_sim.simulation.run_options import RunOptions
from tests.small_run import small_study

LOCKSTEP = (
    "workload.count=12",
    "router.policy=least_waiting",
    "router.telemetry.period_ms=50",
    "run.series_interval_s=0.1",
)
"""Many windows, and series worth the name."""
FILES = ("requests.parquet", "series.parquet", "counters.parquet", "summary.json", "bench.json", "resolved.yaml")


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the files of a run that repeat."""
    return {name: (folder / name).read_bytes() for name in FILES}


def kill_at_edge(study: Study, out: Path, edge: int, *, resumes: bool = False) -> bool:
    """Run in a forked process that keeps its state at a window edge and is killed at the next; False if it ends."""

    class Dying(DiskCheckpoints):
        edges = -1

        def is_due(self) -> bool:
            self.edges += 1
            if self.edges > edge:
                os.kill(os.getpid(), signal.SIGKILL)
            return self.edges == edge

    child = os.fork()
    if not child:
        run.DiskCheckpoints = Dying  # type: ignore[misc]
        try:
            run_study(study, RunOptions(executor="inline", out=out, resumes=resumes))
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_a_run_killed_at_any_window_edge_is_resumed(tmp_path: Path) -> None:
    """Killed after every window edge of a small study, it ends with the same bytes in every file."""
    study = small_study(tmp_path, *LOCKSTEP)
    run_study(study, RunOptions(executor="inline", out=tmp_path / "whole"))
    expected = files_of(tmp_path / "whole")
    out = tmp_path / "killed"
    edges = 0
    while kill_at_edge(study, out, edges):
        partial = sorted(path.name for path in out.with_name("killed.partial").iterdir())
        assert SNAPSHOT_FILE in partial
        run_study(study, RunOptions(executor="inline", out=out, resumes=True))
        assert files_of(out) == expected, f"differs when killed after window edge {edges}"
        assert sorted(path.name for path in out.iterdir()) == sorted((*FILES, "manifest.json"))
        edges += 1
    assert edges >= 6


def test_parts_of_several_lives_become_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed four times, with row groups of 8 requests, it ends with the bytes of an undisturbed run."""
    monkeypatch.setattr("cluster_sim.output.request_table.GROUP_ROWS", 8)
    monkeypatch.setattr("cluster_sim.output.request_table.RequestTable.__init__.__defaults__", (8,))
    monkeypatch.setattr("cluster_sim.recording.request_log.RequestLog.__init__.__defaults__", ((), "", 5))
    study = small_study(tmp_path, *LOCKSTEP, "workload.count=60")
    run_study(study, RunOptions(executor="inline", out=tmp_path / "whole"))
    out = tmp_path / "killed"
    assert kill_at_edge(study, out, 20)
    for edge in (7, 0, 5):
        assert kill_at_edge(study, out, edge, resumes=True)
    names = {path.name for path in out.with_name("killed.partial").iterdir()}
    assert {"requests-00001.parquet", "requests-00002.parquet", "series-00001.parquet"} <= names
    run_study(study, RunOptions(executor="inline", out=out, resumes=True))
    assert files_of(out) == files_of(tmp_path / "whole")


def test_an_interrupted_run_says_how_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the command once there is a snapshot; the run that goes on leaves no trace of the parts."""
    study = small_study(tmp_path)
    run_study(study, RunOptions(executor="inline", out=tmp_path / "whole"))

    def interrupt(self: DiskCheckpoints, take: Any) -> None:
        keep(self, take)
        raise KeyboardInterrupt

    keep = DiskCheckpoints.keep
    monkeypatch.setattr(disk_checkpoints.DiskCheckpoints, "is_due", lambda self: self.resumed is None)
    monkeypatch.setattr(disk_checkpoints.DiskCheckpoints, "keep", interrupt)
    out = tmp_path / "stopped"
    with pytest.raises(UnfinishedError, match=r"interrupted; .*`cluster-sim run .*stopped --resume` goes on"):
        run_study(study, RunOptions(executor="inline", out=out))
    run_study(study, RunOptions(executor="inline", out=out, resumes=True))
    assert files_of(out) == files_of(tmp_path / "whole")


def test_files_that_the_study_reads_must_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trace with other lengths than when the run began is another study, though its path is the same; a library with
    another file is told as such; with both as they were, the run goes on.
    """
    trace, library = tmp_path / "trace.csv", tmp_path / "conf" / "device.yaml"
    head = "arrived_at,num_prefill_tokens,num_decode_tokens\n"
    rows = "".join(f"{number / 20},300,{10 + number % 50}\n" for number in range(100))
    library.parent.mkdir()
    library.write_text("a: 1\n")
    monkeypatch.setattr(disk_checkpoints, "library_root", lambda: library.parent)
    trace.write_text(head + rows)
    study, out = small_study(tmp_path, f"workload={{kind: trace, path: {trace}}}"), tmp_path / "run"
    assert kill_at_edge(study, out, 5)
    for file, other, message in (
        (trace, head + rows.replace(",300,", ",301,"), "belongs to another study"),
        (library, "a: 2\n", "a file that the study reads has changed since"),
    ):
        kept = file.read_text()
        file.write_text(other)
        with pytest.raises(InputError, match=message):
            run_study(study, RunOptions(executor="inline", out=out, resumes=True))
        file.write_text(kept)
    assert run_study(study, RunOptions(executor="inline", out=out, resumes=True)).summary["requests"]["finished"] == 100


def test_only_the_same_run_is_resumed(tmp_path: Path) -> None:
    """Another study, a damaged snapshot and a run that was never broken off are refused; the partial stays."""
    study, out = small_study(tmp_path), tmp_path / "run"
    with pytest.raises(InputError, match=r"there is no .*run\.partial, so no run was broken off there"):
        run_study(study, RunOptions(executor="inline", out=out, resumes=True))
    assert kill_at_edge(study, out, 5)
    other = small_study(tmp_path, "seed=7")
    with pytest.raises(InputError, match="belongs to another study"):
        run_study(other, RunOptions(executor="inline", out=out, resumes=True))
    for change, message in (("event_trace=true", "event_trace: false"), ("series_interval_s=2", "interval_s: 1")):
        with pytest.raises(InputError, match=f"was written with run.*{message}.*restore the study"):
            run_study(small_study(tmp_path, f"run.{change}"), RunOptions(executor="inline", out=out, resumes=True))
    path = tmp_path / "run.partial" / SNAPSHOT_FILE
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(InputError, match="is damaged"):
        run_study(study, RunOptions(executor="inline", out=out, resumes=True))
    path.write_bytes(data)
    placed = small_study(tmp_path, "run.macro_steps=true", "run.snapshot_interval_s=5")
    assert run_study(placed, RunOptions(executor="inline", out=out, resumes=True)).summary["requests"]


def test_a_damaged_part_of_the_requests_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that is not what was written ends a resumed run at once, named; whole again, the run goes on."""
    monkeypatch.setattr("cluster_sim.output.request_table.RequestTable.__init__.__defaults__", (8,))
    monkeypatch.setattr("cluster_sim.recording.request_log.RequestLog.__init__.__defaults__", ((), "", 5))
    study, out = small_study(tmp_path, *LOCKSTEP, "workload.count=60"), tmp_path / "run"
    assert kill_at_edge(study, out, 20)
    part = tmp_path / "run.partial" / "requests-00001.parquet"
    good = part.read_bytes()
    part.write_bytes(good[:100] + bytes([good[100] ^ 1]) + good[101:])
    with pytest.raises(InputError, match=r"requests-00001\.parquet: is damaged"):
        run_study(study, RunOptions(executor="inline", out=out, resumes=True))
    part.write_bytes(good)
    run_study(study, RunOptions(executor="inline", out=out, resumes=True))
    assert not part.exists()


def test_a_run_that_can_be_resumed_is_not_begun_anew(tmp_path: Path) -> None:
    """Without --resume a run refuses to remove what can go on."""
    study, out = small_study(tmp_path), tmp_path / "run"
    assert kill_at_edge(study, out, 5)
    with pytest.raises(InputError, match=r"run\.partial holds a run that was broken off"):
        run_study(study, RunOptions(executor="inline", out=out))
    assert (tmp_path / "run.partial" / SNAPSHOT_FILE).exists()


def test_a_run_ends_after_an_interrupt_that_a_library_has_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next window edge finds it; what was written stays readable."""
    study = small_study(tmp_path, *LOCKSTEP)
    monkeypatch.setattr(INTERRUPTION, "has_come", True)
    with pytest.raises(UnfinishedError, match="interrupted"):
        run_study(study, RunOptions(executor="inline", out=tmp_path / "run"))
    assert (tmp_path / "run.partial").is_dir()
