"""Directories that commands have left, whole or broken off, as subjects of the fuzzer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cluster_sim.config.loading.load import read_document
from cluster_sim.study.capacity_directory import ANSWERS_FILE
from cluster_sim.study.sweep import SweepOptions, run_sweep
from cluster_sim.study.sweep_directory import RESULTS_FILE, TABLE_FILE
from tests.fuzz.guarded import run_guarded
from tests.fuzz.small_work import tasks_here
from tests.fuzz.subject import Subject, base_study, file_contents, study_file
from tests.simulation.test_resume import LOCKSTEP, kill_at_edge
from tests.small_run import run_small, small_study

RATE: Final = "workload.arrivals.request_rate"
EXPORTS: Final = (
    ("report", "run"),
    ("report", "run", "--trace"),
    ("report", "run", "--openmetrics"),
    ("report", "run", "--openmetrics", "--step", "0.5", "--gzip"),
    ("explain", "run", "3"),
    ("explain", "run", "3", "--json"),
    ("compare", "run", "other"),
    ("compare", "other", "run", "--json"),
    ("report", "run", "--compare", "other"),
    ("workload", "describe", "run/resolved.yaml"),
    ("run", "run/resolved.yaml", "--executor", "inline", "--out", "again"),
)
"""Commands that read the directory of a run."""


def finished_runs(folder: Path) -> Iterator[Subject]:
    """Yield the directory of a run, with another beside it, for every command that reads one."""
    files = file_contents(run_small(folder).directory, "run")
    other = file_contents(run_small(folder, "predictor={kind: linear, alpha_us: 9000}").directory, "other")
    for arguments in EXPORTS:
        beside = other if "other" in arguments else {}
        for name in files:
            yield Subject("run directory", files | beside, (name,), arguments)


def broken_runs(folder: Path) -> Iterator[Subject]:
    """Yield what a killed run has left, to be resumed."""
    study = small_study(folder, *LOCKSTEP)
    edge = 3
    assert kill_at_edge(study, folder / "out", edge)
    files = file_contents(folder / "out.partial", "out.partial")
    for name in files:
        yield Subject("resumed run", files, (name,), ("run", "out.partial", "--resume", "--executor", "inline"))
        yield Subject("resumed run", files, (name,), ("run", "out", "--resume", "--paranoid"))
        yield Subject("resumed run", files, (name,), ("report", "out.partial"))


def sweeps(folder: Path) -> Iterator[Subject]:
    """Yield studies with a sweep or replications, and the directory of a sweep, whole and broken off."""
    grid = {"grid": {"seed": [1, 2], "fleet.pools.0.replicas": [1, 2]}, "where": ["seed < 3"]}
    study = study_file(base_study(sweep=grid))
    zipped = {
        "zip": {"seed": [1, 2], "router.policy": ["random", "round_robin"]},
        "sample": {"count": 2, "ranges": {RATE: {"min": 9, "max": 20}}},
    }
    repeated = study_file(base_study(sweep=zipped))
    file = folder / "study.yaml"
    for content in (study, repeated):
        yield Subject("sweep", content, ("study.yaml",), ("sweep", "study.yaml", "--dry-run"))
        yield Subject("sweep", content, ("study.yaml",), ("sweep", "study.yaml", "--out", "out"))
    file.write_bytes(study["study.yaml"])
    result = run_sweep(file, read_document(file), SweepOptions(folder / "sweep"), tasks_here)
    whole = file_contents(result.directory, "out")
    for name in whole:
        yield Subject("sweep", whole, (name,), ("report", "out"))
        yield Subject("sweep", whole | file_contents(result.directory, "two"), (name,), ("compare", "out", "two"))
        yield Subject("sweep", study | whole, (name,), ("sweep", "study.yaml", "--resume", "--out", "out"))
    broken = {name.replace("out/", "out.partial/"): content for name, content in whole.items()}
    for name in (f"out.partial/{RESULTS_FILE}", f"out.partial/{TABLE_FILE}"):
        del broken[name]
    for name in broken:
        yield Subject("sweep", study | broken, (name,), ("sweep", "study.yaml", "--resume", "--out", "out"))


def searches(folder: Path) -> Iterator[Subject]:
    """Yield studies of capacity and plan, and the directories that they leave."""
    limits = {"slo": {"ttft_p99_s": 2.0, "tpot_p99_s": 0.05}}
    rates = study_file(base_study(**limits, sweep={"grid": {"fleet.pools.0.replicas": [1, 2]}}))
    fleets = study_file(base_study(**limits, plan={"devices": ["h100-sxm"], "tensor_parallel": [1], "max_gpus": 2}))
    for files, arguments in (
        (rates, ("capacity", "study.yaml", "--out", "out", "--tolerance", "0.05")),
        (fleets, ("plan", "study.yaml", "--out", "out", "--time-limit", "30s")),
    ):
        yield Subject("search", files, ("study.yaml",), arguments)
        place = folder / arguments[0]
        place.mkdir()
        (place / "study.yaml").write_bytes(files["study.yaml"])
        ended = run_guarded(arguments, place)
        assert ended.code == 0, ended
        left = file_contents(place / "out", "out")
        resumed = (*arguments, "--resume") if arguments[0] == "capacity" else arguments
        for name in left:
            yield Subject("search", files | left, (name,), resumed)
        if arguments[0] == "capacity":
            broken = {name.replace("out/", "out.partial/"): content for name, content in left.items()}
            broken = {name: content for name, content in broken.items() if not name.endswith((ANSWERS_FILE, ".csv"))}
            for name in broken:
                yield Subject("search", files | broken, (name,), resumed)
