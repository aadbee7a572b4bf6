"""Sweeps: the grid's order, failures as rows, whole results only, resuming to the same table."""

import csv
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cluster_sim import __version__
from cluster_sim.config.loading.canonical import resolved_yaml
from cluster_sim.config.loading.load import load_study
from cluster_sim.config.loading.template import study_template
from cluster_sim.config.schema.study import Study
from cluster_sim.directory_lock import LOCK_FILE
from cluster_sim.document import Document
from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.simulation.plan import make_plan
from cluster_sim.study.sweep import SweepOptions, SweepResult, run_sweep
from cluster_sim.study.sweep_directory import RESULTS_FILE, TABLE_FILE
from cluster_sim.study.variants import expand

GRID = "sweep: {grid: {fleet.pools.0.replicas: [1, 2, 3], router.policy: [round_robin, random]}}\n"


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(study_template().replace("sweep: null\n", GRID), encoding="utf-8")
    return path


def fake_run(study: Study) -> dict[str, Any]:
    """Stands for a run: figures that depend on the study."""
    replicas = study.fleet.pools[0].replicas
    if replicas == 2 and study.router.policy == "random":
        raise UnfinishedError("router waits for replica 1")
    return {
        "digest": f"d{replicas}",
        "summary": {
            "simulated_s": 10.0 / replicas,
            "ttft_s": {"p99": 0.5, "exact": True},
            "pools": [1],
            "flat": {"x": 1},
        },
    }


class Tasks:
    """Runs the fake in this process, last study first; stops after ``limit`` runs as a killed sweep would."""

    def __init__(self, limit: int = 100) -> None:
        self.limit = limit
        self.ran: list[Study] = []

    def __call__(
        self, function: Callable[[Study], Any], studies: list[Study]
    ) -> Iterator[tuple[int, dict[str, Any] | Exception]]:
        del function
        for position in reversed(range(len(studies))):
            if len(self.ran) == self.limit:
                raise KeyboardInterrupt
            self.ran.append(studies[position])
            try:
                yield position, fake_run(studies[position])
            except UnfinishedError as error:
                yield position, error


def sweep(path: Path, out: Path, tasks: Tasks, *, resume: bool = False) -> SweepResult:
    return run_sweep(path, Document.read(path), SweepOptions(out=out, resume=resume), tasks)


BASE = """\
workload:
  kind: synthetic
  count: 5
  arrivals: {kind: poisson, request_rate: 1}
  lengths: {prompt: {kind: fixed, value: 100}, output: {kind: fixed, value: 10}}
fleet:
  pools:
  - {model: llama-3-8b, device: h100-sxm, engine: {kind: orca, max_model_len: 4096, enable_mixed_chunk: true}}
sweep: {grid: {fleet.pools.0.engine.kind: [sglang, orca]}}
"""
"""A study whose engine has not what its block switches on, until the sweep sets the engine."""


def test_only_variants_are_studies(tmp_path: Path) -> None:
    """The engine's options are judged with the sweep's values; without a sweep the same block is refused."""
    path = tmp_path / "study.yaml"
    path.write_text(BASE, encoding="utf-8")
    kept = load_study(path)
    assert kept.fleet.pools[0].engine.model_dump()["enable_mixed_chunk"] is True
    sglang, orca = expand(path, Document.read(path))
    assert sglang.study is not None
    assert sglang.study.fleet.pools[0].engine.kind == "sglang"
    assert (orca.study, orca.error) == (
        None,
        f"{path}:8: fleet.pools.0.engine.enable_mixed_chunk: enable_mixed_chunk belongs to sglang; this pool is orca",
    )
    with pytest.raises(InputError, match=r"engine\.enable_mixed_chunk: enable_mixed_chunk belongs to sglang"):
        make_plan(kept)
    resolved = tmp_path / "resolved.yaml"
    resolved.write_text(resolved_yaml(kept), encoding="utf-8")
    assert load_study(resolved) == kept
    path.write_text(BASE.partition("sweep:")[0], encoding="utf-8")
    with pytest.raises(InputError, match="enable_mixed_chunk belongs to sglang; this pool is orca"):
        load_study(path)


def test_grid_order(study_file: Path) -> None:
    """The last key varies fastest; every variant is the study with its values, without the sweep block."""
    variants = expand(study_file, Document.read(study_file))
    assert [tuple(variant.values.values()) for variant in variants] == [
        (replicas, policy) for replicas in (1, 2, 3) for policy in ("round_robin", "random")
    ]
    study = variants[3].study
    assert study is not None
    assert (study.fleet.pools[0].replicas, study.router.policy, study.sweep) == (2, "random", None)
    assert len({variant.run_id for variant in variants}) == 6


def test_rows(study_file: Path, tmp_path: Path) -> None:
    """The table has one row per run in the grid's order: keys, status, error, digest, flattened figures."""
    result = sweep(study_file, tmp_path / "out", Tasks())
    assert result.failed == 1
    rows = pq.read_table(tmp_path / "out" / RESULTS_FILE).to_pylist()
    assert [row["fleet.pools.0.replicas"] for row in rows] == [1, 1, 2, 2, 3, 3]
    assert [row["status"] for row in rows] == ["finished"] * 3 + ["failed"] + ["finished"] * 2
    assert rows[3]["error"] == "router waits for replica 1"
    assert rows[3]["simulated_s"] is None
    assert rows[4]["simulated_s"] == pytest.approx(10 / 3)
    assert rows[4]["ttft_s.p99"] == 0.5
    assert rows[4]["ttft_s.exact"] is True
    assert rows[4]["digest"] == "d3"
    assert not {"pools", "flat", "flat.x"} & set(rows[0])
    with (tmp_path / "out" / TABLE_FILE).open(newline="") as file:
        texts = list(csv.DictReader(file))
    assert [list(text) for text in texts] == [list(row) for row in rows]
    assert texts == [{key: "" if value is None else str(value) for key, value in row.items()} for row in rows]
    assert not (tmp_path / "out.partial").exists()


def test_killed_and_resumed_gives_the_same_rows(study_file: Path, tmp_path: Path) -> None:
    """What a killed sweep finished is kept and not run again; the resumed table equals the undisturbed one."""
    sweep(study_file, tmp_path / "whole", Tasks())
    with pytest.raises(UnfinishedError, match=r"interrupted; 4 of 6 runs are in .*out.partial; add --resume to go on"):
        sweep(study_file, tmp_path / "out", Tasks(limit=4))
    assert not (tmp_path / "out").exists()
    assert len(list((tmp_path / "out.partial" / "runs").glob("*.json"))) == 4
    assert pq.read_table(tmp_path / "out.partial" / RESULTS_FILE).num_rows == 4
    with pytest.raises(InputError, match="continue it with --resume"):
        sweep(study_file, tmp_path / "out", Tasks())
    rest = Tasks()
    sweep(study_file, tmp_path / "out", rest, resume=True)
    assert len(rest.ran) == 3  # the two that are missing, and the one that failed
    tables = [pq.read_table(tmp_path / name / RESULTS_FILE) for name in ("whole", "out")]
    assert tables[0].equals(tables[1])
    again = Tasks()
    assert sweep(study_file, tmp_path / "out", again, resume=True).failed == 1
    assert again.ran == []


def test_a_result_that_was_changed_on_disk_is_no_result(study_file: Path, tmp_path: Path) -> None:
    """A run whose file was changed is run again; in a complete sweep, which runs nothing, an error names it."""
    options = SweepOptions(out=tmp_path / "out", resume=True)
    result = run_sweep(study_file, Document.read(study_file), options, Tasks())
    changed = sorted((tmp_path / "out" / "runs").glob("*.json"))[1]
    changed.write_text(changed.read_text().replace("10.0", "11.0"))
    with pytest.raises(InputError, match=f"out: is damaged: the result of run {changed.stem} is missing"):
        run_sweep(study_file, Document.read(study_file), options, Tasks())
    for name in (RESULTS_FILE, TABLE_FILE):
        (tmp_path / "out" / name).unlink()
    (tmp_path / "out").rename(tmp_path / "out.partial")
    tasks = Tasks()
    again = run_sweep(study_file, Document.read(study_file), options, tasks)
    assert again.rows == result.rows
    assert len(tasks.ran) == 2  # The one that was changed, and the one that had failed.


def test_a_live_sweep_is_not_resumed(study_file: Path, tmp_path: Path) -> None:
    """While a sweep runs no other one writes its directory, whether it resumes or not; no lock is left at the end."""
    refused: list[str] = []

    def intruded(function: Any, studies: Any) -> Iterator[Any]:
        for resume in (True, False):
            with pytest.raises(InputError) as caught:
                sweep(study_file, tmp_path / "out", Tasks(), resume=resume)
            refused.append(str(caught.value))
        yield from Tasks()(function, studies)

    run_sweep(study_file, Document.read(study_file), SweepOptions(out=tmp_path / "out"), intruded)
    assert len(refused) == 2
    assert all(f"out.partial: process {os.getpid()} on " in text for text in refused)
    files = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert files == ["results.csv", "results.parquet", "runs", "sweep.yaml"]


def test_the_lock_of_a_killed_sweep_is_taken_over(study_file: Path, tmp_path: Path) -> None:
    """A sweep whose process is gone is resumed although its lock file is still there."""
    with pytest.raises(UnfinishedError, match="interrupted"):
        sweep(study_file, tmp_path / "out", Tasks(limit=4))
    (tmp_path / "out.partial" / LOCK_FILE).write_text("process 1 on elsewhere", encoding="utf-8")
    sweep(study_file, tmp_path / "out", Tasks(), resume=True)
    assert not (tmp_path / "out" / LOCK_FILE).exists()


EARLIER = """\
name: old
seed: 3
workload:
  kind: synthetic
  count: 60
  arrivals: {kind: poisson, request_rate: 20}
  lengths: {prompt: {kind: uniform, min: 10, max: 400}, output: {kind: uniform, min: 1, max: 20}}
fleet:
  pools: [{model: llama-3-8b, device: h100-sxm, replicas: 2, engine: {kind: vllm_v1, enable_prefix_caching: false}}]
predictor: {kind: roofline}
sweep: {grid: {seed: [1, 2], fleet.pools.0.engine.kind: [vllm_v1, orca, sglang]}}
"""


@pytest.mark.parametrize("out", ["sweeps/old-0123456789ab", None])
def test_a_sweep_of_an_earlier_release_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str | None
) -> None:
    """Results are kept although the study is written and hashed otherwise now, also where the directory is found by
    its name; another study is refused.
    """
    monkeypatch.chdir(tmp_path)
    runs = tmp_path / "sweeps" / "old-0123456789ab.partial" / "runs"
    runs.mkdir(parents=True)
    earlier = Path(__file__).with_name("earlier_sweep.yaml")
    (runs.parent / "sweep.yaml").write_text(earlier.read_text(encoding="utf-8"), encoding="utf-8")
    for index, status in enumerate(("finished", "failed", "finished")):
        result = {"status": status, "error": None, "digest": f"earlier {index}", "summary": {}}
        (runs / f"{index:05d}-{'9' * 12}.json").write_text(json.dumps(result), encoding="utf-8")
    study = tmp_path / "study.yaml"
    study.write_text(EARLIER.replace("count: 60", "count: 61"), encoding="utf-8")
    directory = None if out is None else Path(out)
    if out is not None:
        with pytest.raises(InputError, match="holds another sweep than this study asks for"):
            run_sweep(study, Document.read(study), SweepOptions(out=directory, resume=True), Tasks())
    study.write_text(EARLIER, encoding="utf-8")
    tasks = Tasks()
    result = run_sweep(study, Document.read(study), SweepOptions(out=directory, resume=True), tasks)
    assert result.directory == Path("sweeps/old-0123456789ab")
    assert len(tasks.ran) == 4  # the three that are missing, and the one that failed
    assert [row["digest"] for row in result.rows] == ["earlier 0", "d2", "earlier 2", "d2", "d2", "d2"]
    again = run_sweep(study, Document.read(study), SweepOptions(out=directory, resume=True), Tasks())
    assert [row["digest"] for row in again.rows] == [row["digest"] for row in result.rows]


def test_a_disk_that_fails_keeps_what_is_there(study_file: Path, tmp_path: Path) -> None:
    """A result that cannot be written leaves the sweep unfinished, not wrong, and nothing is deleted."""

    def failing(function: Any, studies: Any) -> Iterator[Any]:
        for position, outcome in Tasks()(function, studies):
            if position < len(studies) - 1:
                (tmp_path / "out.partial" / "runs").rename(tmp_path / "out.partial" / "away")
            yield position, outcome

    with pytest.raises(UnfinishedError, match="cannot be written"):
        sweep(study_file, tmp_path / "out", failing)
    assert len(list((tmp_path / "out.partial" / "away").glob("*.json"))) == 1


def test_another_study_cannot_resume(study_file: Path, tmp_path: Path) -> None:
    """--resume refuses results of another study, with the key that differs and both values."""
    with pytest.raises(UnfinishedError, match="interrupted"):
        sweep(study_file, tmp_path / "out", Tasks(limit=1))
    study_file.write_text(study_file.read_text().replace("seed: 42", "seed: 43"))
    with pytest.raises(InputError, match="holds another sweep than this study asks for: seed is 42 there and 43 here"):
        sweep(study_file, tmp_path / "out", Tasks(), resume=True)


def test_a_sweep_of_another_release_is_not_resumed(study_file: Path, tmp_path: Path) -> None:
    """The results of another release are refused with its number, and left as they are."""
    with pytest.raises(UnfinishedError, match="interrupted"):
        sweep(study_file, tmp_path / "out", Tasks(limit=1))
    record = tmp_path / "out.partial" / "sweep.yaml"
    record.write_text(record.read_text().replace(f"cluster-sim {__version__}", "cluster-sim 0.0.9"))
    with pytest.raises(InputError, match=rf"sweep\.yaml: holds a sweep of release 0\.0\.9, and this is {__version__}"):
        sweep(study_file, tmp_path / "out", Tasks(), resume=True)
    assert len(list((tmp_path / "out.partial" / "runs").iterdir())) == 1


def test_unfinished_tasks_are_an_unfinished_sweep(study_file: Path, tmp_path: Path) -> None:
    """Tasks that end without all results leave the sweep unfinished, and say how to go on."""

    def none(function: Any, studies: Any) -> Iterator[Any]:
        del function, studies
        yield from ()

    with pytest.raises(UnfinishedError, match="6 of 6 runs did not end; add --resume"):
        run_sweep(study_file, Document.read(study_file), SweepOptions(out=tmp_path / "out"), none)


def test_wrong_input_leaves_nothing(study_file: Path, tmp_path: Path) -> None:
    """Wrong input found when the tasks start leaves no directory."""

    def refuse(function: Any, studies: Any) -> Iterator[Any]:
        del function, studies
        raise InputError("no cluster")
        yield

    with pytest.raises(InputError, match="no cluster"):
        run_sweep(study_file, Document.read(study_file), SweepOptions(out=tmp_path / "out"), refuse)
    assert not list(tmp_path.glob("out*"))


def test_another_directory_is_left_alone(study_file: Path, tmp_path: Path) -> None:
    """A directory that is no sweep is not replaced."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").touch()
    with pytest.raises(InputError, match="is not the directory of a sweep"):
        sweep(study_file, tmp_path / "out", Tasks())
    assert (tmp_path / "out" / "precious").exists()


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("sweep: null\n", "has no sweep block"),
        ("sweep: {grid: {sede: [1, 2]}}\n", "no combination of the sweep is a valid study"),
        ("sweep: {grid: {fleet.pools.4.replicas: [1]}}\n", "name an item by its index"),
        ("sweep: {grid: {seed: 3}}\n", "sweep.grid.seed: must be a list"),
        ("sweep: {grid: {name: [a], seed: [1, 2, 1.0]}}\n", "sweep: grid.seed has 1 twice: give each value once"),
        ("sweep: {zip: {seed: [1, 1], name: [a, a]}}\n", 'zip has the values [1, "a"] of seed, name twice'),
        ("sweep: {list: [{seed: 1}, {seed: 1}]}\n", 'list has the entry {"seed": 1} twice'),
        ("sweep: {list: [{name: a}, {seed: 4}], where: [seed == 5]}\n", "none of the 2 combinations"),
    ],
)
def test_wrong_grids(study_file: Path, block: str, message: str) -> None:
    """A missing or senseless grid is wrong input."""
    study_file.write_text(study_template().replace("sweep: null\n", block), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        expand(study_file, Document.read(study_file))
    assert message in str(caught.value)


def test_invalid_combinations_are_rows(study_file: Path, tmp_path: Path) -> None:
    """A value that one variant cannot have makes a failed row with the place of the grid, not a failed sweep."""
    study_file.write_text(
        study_template().replace("sweep: null\n", "sweep: {grid: {fleet.pools.0.replicas: [1, 0]}}\n")
    )
    tasks = Tasks()
    rows = sweep(study_file, tmp_path / "out", tasks).rows
    assert [row["status"] for row in rows] == ["finished", "failed"]
    assert "(sweep.grid): fleet.pools.0.replicas: 0, and nothing starts any" in rows[1]["error"]
    assert len(tasks.ran) == 1


def test_mixed_values_share_a_column(study_file: Path, tmp_path: Path) -> None:
    """Values of different types are kept: whole and broken numbers as doubles, anything else as JSON text."""
    grid = "sweep: {grid: {slo.ttft_p99_s: [1, 2.5], run.replicas_per_actor: [auto, 2]}}\n"
    study_file.write_text(study_template().replace("sweep: null\n", grid))
    sweep(study_file, tmp_path / "out", Tasks())
    columns = pq.read_table(tmp_path / "out" / RESULTS_FILE).to_pydict()
    assert columns["slo.ttft_p99_s"] == [1.0, 1.0, 2.5, 2.5]
    assert [json.loads(text) for text in columns["run.replicas_per_actor"]] == ["auto", 2, "auto", 2]


def test_a_model_that_does_not_fit_is_an_invalid_combination(study_file: Path) -> None:
    """Planning is part of validity: the error names the place of the grid, and the label is what ``--set`` takes."""
    grid = "sweep: {grid: {fleet.pools.0.model: [llama-3-8b, llama-3-70b], run.end_s: [null]}}\n"
    study_file.write_text(study_template().replace("sweep: null\n", grid))
    fitting, large = expand(study_file, Document.read(study_file))
    assert fitting.study is not None
    assert large.study is None
    assert "(sweep.grid): fleet.pools.0.model: llama-3-70b does not fit" in str(large.error)
    assert fitting.label == "fleet.pools.0.model=llama-3-8b run.end_s=null"


def test_a_file_is_no_sweep(study_file: Path) -> None:
    """A file at the place of the results is wrong input and stays."""
    with pytest.raises(InputError, match="exists and is not the directory of a sweep"):
        sweep(study_file, study_file, Tasks())
    assert study_file.is_file()
