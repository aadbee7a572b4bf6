"""Sweep: runs every variant of a study as a task of its own and gathers one row per run.

Rows hold simulated figures alone, in the order of the combinations, so a resumed sweep gives the same table as an
undisturbed one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cluster_sim.config.loading.load import check_study
from cluster_sim.config.schema.study import Study
from cluster_sim.document import Document
from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.interruption import INTERRUPTION
from cluster_sim.own_folder import own_folder
from cluster_sim.shown_values import by_number, counted
from cluster_sim.simulation.run_options import RunOptions
from cluster_sim.study.summary_figures import flat_figures
from cluster_sim.study.sweep_directory import (
    FAILED,
    FINISHED,
    RESULTS_FILE,
    Row,
    SweepDirectory,
    default_directory,
)
from cluster_sim.study.sweep_stream import RowStream
from cluster_sim.study.variants import Variant, expand

TaskRunner = Callable[[Callable[[Study], Row], list[Study]], Iterator[tuple[int, Row | Exception]]]
"""Runs a function over studies, possibly in parallel; yields (position, result or exception) as they end."""


@dataclass(frozen=True, slots=True)
class SweepOptions:
    """Requests of a caller beside the study."""

    out: Path | None = None
    """Directory of the results; None means ``sweeps/<name>-<config hash>``."""
    address: str | None = None
    """Ray cluster to join; None starts a local one."""
    resume: bool = False
    """Continue a sweep that did not finish."""


@dataclass(frozen=True, slots=True)
class SweepResult:
    """The results of a sweep."""

    directory: Path
    rows: list[Row]
    keys: tuple[str, ...]
    """The keys that vary, which are columns."""

    @property
    def failed(self) -> int:
        """How many runs have no figures."""
        return sum(row["status"] != FINISHED for row in self.rows)


def run_variant(study: Study) -> Row:
    """Run one study in this process, or with its actors in a task that has some; return its row without swept keys.

    Its tables are written to a temporary directory and dropped: a sweep keeps the figures, and the run's resolved study
    gives everything else again.
    """
    from cluster_sim.simulation.launcher import task_executor
    from cluster_sim.simulation.run import run_study

    with own_folder("sweep") as folder:
        result = run_study(study, RunOptions(executor=task_executor(), out=folder / "run"))
        return {"digest": result.digest, "summary": result.summary}


def run_sweep(
    path: Path,
    document: Document,
    options: SweepOptions,
    tasks: TaskRunner | None = None,
    on_row: Callable[[Variant, Row], None] | None = None,
    on_kept: Callable[[int], None] | None = None,
    on_start: Callable[[Variant], None] | None = None,
) -> SweepResult:
    """Run every variant of the study file ``path`` and return all rows; failures are rows too.

    ``tasks`` runs the variants; None starts Ray tasks.  ``on_kept`` is called with the number of runs that an earlier
    attempt has finished, ``on_start`` as each further one is handed to Ray, ``on_row`` as it ends.  Raises
    ``InputError`` if the study is wrong or the directory holds something else, ``UnfinishedError`` if the tasks cannot
    run.
    """
    variants = expand(path, document)
    base = check_study(document, path.resolve().parent)
    assert base.sweep is not None
    keys = base.sweep.keys
    with SweepDirectory(options.out or default_directory(base, is_resumed=options.resume)) as directory:
        done = directory.open(base, is_resumed=options.resume)
        if on_kept is not None:
            on_kept(sum(row["status"] == FINISHED for row in done.values()))
        pending = _pending(variants, done)

        def begin(position: int) -> None:
            if on_start is not None:
                on_start(pending[position][0])

        run_all = tasks or _ray_tasks(options.address, begin)
        return _run_missing(variants, keys, done, directory, pending, run_all, on_row)


def _pending(variants: list[Variant], done: dict[int, Row]) -> list[tuple[Variant, Study]]:
    """Return the variants that are valid and have not finished."""
    return [
        (variant, variant.study)
        for variant in variants
        if variant.study is not None and done.get(variant.index, {}).get("status") != FINISHED
    ]


def _run_missing(
    variants: list[Variant],
    keys: tuple[str, ...],
    done: dict[int, Row],
    directory: SweepDirectory,
    pending: list[tuple[Variant, Study]],
    run_all: TaskRunner,
    on_row: Callable[[Variant, Row], None] | None,
) -> SweepResult:
    """Run the variants without a result in ``done`` and return all rows."""
    if directory.is_complete:
        results = directory.whole_results(done, [variant.run_id for variant in variants])
        rows_done = [_row(variant, keys, result) for variant, result in zip(variants, results, strict=True)]
        return SweepResult(directory.final, rows_done, keys)

    rows: dict[int, Row] = {}
    stream = RowStream(directory.partial / RESULTS_FILE, rows)

    def keep(variant: Variant, result: Row) -> None:
        directory.save(variant.run_id, result)
        rows[variant.index] = _row(variant, keys, result)
        stream.note_end()
        if on_row is not None:
            on_row(variant, rows[variant.index])

    for variant in variants:
        earlier = done.get(variant.index)
        if earlier is not None and earlier["status"] == FINISHED:
            rows[variant.index] = _row(variant, keys, earlier)
        elif variant.study is None:
            keep(variant, {"status": FAILED, "error": variant.error})

    try:
        with INTERRUPTION.restored():
            for position, outcome in run_all(run_variant, [study for _, study in pending]):
                keep(pending[position][0], _finished(outcome))
    except InputError:
        if not any(row["status"] == FINISHED for row in rows.values()):
            directory.discard()
        raise
    except KeyboardInterrupt as error:
        stream.write()
        raise UnfinishedError(
            f"interrupted; {len(rows)} of {counted(len(variants), 'run')} {by_number(len(rows), 'is', 'are')} in "
            f"{directory.partial}; add --resume to go on"
        ) from error
    if len(rows) < len(variants):
        missing = len(variants) - len(rows)
        raise UnfinishedError(f"{missing} of {counted(len(variants), 'run')} did not end; add --resume to go on")
    ordered = [rows[variant.index] for variant in variants]
    return SweepResult(directory.complete(ordered), ordered, keys)


def _ray_tasks(address: str | None, on_start: Callable[[int], None]) -> TaskRunner:
    from cluster_sim.simulation.launcher import ray_tasks

    return ray_tasks(address, on_start)


def _finished(outcome: Row | Exception) -> Row:
    if isinstance(outcome, Exception):
        kind = "" if isinstance(outcome, InputError | UnfinishedError) else f"{type(outcome).__name__}: "
        return {"status": FAILED, "error": f"{kind}{outcome}"}
    return {"status": FINISHED, "error": None, **outcome}


def _row(variant: Variant, keys: tuple[str, ...], result: Row) -> Row:
    """Return the flat row of a run: swept keys (null where the run leaves the study's own value), status, error,
    digest, then every single figure of the summary.
    """
    return {
        "run": variant.run_id,
        **{key: variant.values.get(key) for key in keys},
        "status": result["status"],
        "error": result["error"],
        "digest": result.get("digest"),
        **flat_figures(result.get("summary") or {}),
    }
