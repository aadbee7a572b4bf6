"""``sweep``: runs every variant of a study as a task of its own and gathers one row per run.

Design.  Everything is written below ``DIR.partial``, renamed to ``DIR`` when all variants are done.  Each finished run
is one file ``runs/<run id>.json``, written under a temporary name and renamed, so whatever kills the sweep leaves whole
results only; ``--resume`` reads them and runs the rest.  Rows hold simulated figures alone, in the grid's order, so a
resumed sweep gives the same table as an undisturbed one.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from cluster_sim.atomic_file import whole_file
from cluster_sim.config.loading.canonical import config_hash, resolved_yaml
from cluster_sim.config.loading.document import Document
from cluster_sim.config.loading.load import check_study
from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.output.run_directory import is_empty_directory
from cluster_sim.simulation.run_options import RunOptions
from cluster_sim.study.sweep_table import write_rows
from cluster_sim.study.variants import Variant, expand

RESULTS_FILE: Final = "results.parquet"
BASE_FILE: Final = "sweep.yaml"
RUNS_FOLDER: Final = "runs"

FINISHED: Final = "finished"
FAILED: Final = "failed"

Row = dict[str, Any]
TaskRunner = Callable[[Callable[[Study], Row], list[Study]], Iterator[tuple[int, Row | Exception]]]
"""Runs a function over studies, possibly in parallel; yields (position, result or exception) as they end."""


@dataclass(frozen=True, slots=True)
class SweepOptions:
    """What a caller may ask of a sweep beside the study."""

    out: Path | None = None
    """Directory of the results; None means ``sweeps/<name>-<config hash>``."""
    address: str | None = None
    """Ray cluster to join; None starts a local one."""
    resume: bool = False
    """Continue a sweep that did not finish."""


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep gave."""

    directory: Path
    rows: list[Row]

    @property
    def failed(self) -> int:
        """How many runs have no figures."""
        return sum(row["status"] != FINISHED for row in self.rows)


def run_variant(study: Study) -> Row:
    """Run one study in this process and return its row without the swept keys.

    Its tables are written to a temporary directory and dropped: a sweep keeps the figures, and the run's resolved study
    gives everything else again.
    """
    from cluster_sim.simulation.run import run_study

    with TemporaryDirectory(prefix="cluster-sim-sweep-") as folder:
        result = run_study(study, RunOptions(executor="inline", out=Path(folder) / "run"))
        return {"digest": result.digest, "summary": result.summary}


def run_sweep(
    path: Path,
    document: Document,
    options: SweepOptions,
    tasks: TaskRunner | None = None,
    on_row: Callable[[Variant, Row], None] | None = None,
) -> SweepResult:
    """Run every variant of the study file ``path`` and return all rows; failures are rows too.

    ``tasks`` runs the variants; None starts Ray tasks.  ``on_row`` is called as each run ends.  Raises ``InputError``
    if the study is wrong or the directory holds something else, ``UnfinishedError`` if the tasks cannot run.
    """
    variants = expand(path, document)
    base = check_study(document, path.resolve().parent)
    files = SweepFiles(options.out or Path("sweeps") / f"{base.name}-{config_hash(base)}")
    done = files.open(resolved_yaml(base), is_resumed=options.resume)
    if files.is_complete:
        return SweepResult(files.final, [_row(variant, done[variant.run_id]) for variant in variants])

    rows: dict[int, Row] = {}

    def keep(variant: Variant, result: Row) -> None:
        files.save(variant.run_id, result)
        rows[variant.index] = _row(variant, result)
        if on_row is not None:
            on_row(variant, rows[variant.index])

    pending: list[tuple[Variant, Study]] = []
    for variant in variants:
        earlier = done.get(variant.run_id)
        if earlier is not None and earlier["status"] == FINISHED:
            rows[variant.index] = _row(variant, earlier)
        elif variant.study is None:
            keep(variant, {"status": FAILED, "error": variant.error})
        else:
            pending.append((variant, variant.study))

    run_all = tasks or _ray_tasks(options.address)
    try:
        for position, outcome in run_all(run_variant, [study for _, study in pending]):
            keep(pending[position][0], _finished(outcome))
    except InputError:
        if not any(row["status"] == FINISHED for row in rows.values()):
            files.discard()
        raise
    except KeyboardInterrupt as error:
        raise UnfinishedError(
            f"interrupted; {len(rows)} of {len(variants)} runs are in {files.partial}; add --resume to go on"
        ) from error
    if len(rows) < len(variants):
        raise UnfinishedError(f"{len(variants) - len(rows)} of {len(variants)} runs did not end; add --resume to go on")
    ordered = [rows[variant.index] for variant in variants]
    return SweepResult(files.complete(ordered), ordered)


class SweepFiles:
    """The directory of one sweep."""

    def __init__(self, final: Path) -> None:
        self.final = final
        self.partial = final.with_name(final.name + ".partial")
        self.is_complete = False

    def open(self, base: str, *, is_resumed: bool) -> dict[str, Row]:
        """Prepare the directory for the sweep described by ``base``; return the results that are there already."""
        place = self.partial
        if is_resumed and not self.partial.exists() and (self.final / RESULTS_FILE).exists():
            place, self.is_complete = self.final, True
        if is_resumed and place.exists():
            if _read(place / BASE_FILE) != base:
                raise InputError(f"{place}: holds another sweep than this study asks for; give another --out")
            return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in _results(place)}
        if self.partial.exists():
            raise InputError(
                f"{self.partial}: holds a sweep that did not finish; continue it with --resume, or remove it"
            )
        if self.final.exists() and not (self.final / RESULTS_FILE).exists() and not is_empty_directory(self.final):
            raise InputError(
                f"--out {self.final}: exists and is not the directory of a sweep; give another or remove it"
            )
        try:
            (self.partial / RUNS_FOLDER).mkdir(parents=True)
        except OSError as error:
            raise InputError(f"--out {self.final}: cannot be written: {error.strerror or error}") from error
        _write(self.partial / BASE_FILE, base)
        return {}

    def save(self, run_id: str, result: Row) -> None:
        """Write one run's result, whole or not at all."""
        _write(self.partial / RUNS_FOLDER / f"{run_id}.json", json.dumps(result, indent=1, allow_nan=False) + "\n")

    def discard(self) -> None:
        """Delete the directory."""
        shutil.rmtree(self.partial, ignore_errors=True)

    def complete(self, rows: list[Row]) -> Path:
        """Write the table and give the directory its name; return it."""
        write_rows(rows, self.partial / RESULTS_FILE)
        if self.final.exists():
            shutil.rmtree(self.final)
        self.partial.replace(self.final)
        return self.final


def _ray_tasks(address: str | None) -> TaskRunner:
    from cluster_sim.simulation.launcher import ray_tasks

    return ray_tasks(address)


def _finished(outcome: Row | Exception) -> Row:
    if isinstance(outcome, Exception):
        kind = "" if isinstance(outcome, InputError | UnfinishedError) else f"{type(outcome).__name__}: "
        return {"status": FAILED, "error": f"{kind}{outcome}"}
    return {"status": FINISHED, "error": None, **outcome}


def _row(variant: Variant, result: Row) -> Row:
    """Return the flat row of a run: swept keys, status, error, digest, then every single figure of the summary."""
    return {
        "run": variant.run_id,
        **variant.values,
        "status": result["status"],
        "error": result["error"],
        "digest": result.get("digest"),
        **_flat(result.get("summary") or {}),
    }


def _flat(summary: dict[str, Any], prefix: str = "") -> Row:
    """Return the summary's figures by dotted names; lists (pools, replicas) and the copy ``flat`` are left out."""
    row: Row = {}
    for key, value in summary.items():
        if isinstance(value, dict) and key != "flat":
            row.update(_flat(value, f"{prefix}{key}."))
        elif not isinstance(value, dict | list):
            row[f"{prefix}{key}"] = value
    return row


def _results(place: Path) -> Iterable[Path]:
    return sorted((place / RUNS_FOLDER).glob("*.json"))


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _write(path: Path, text: str) -> None:
    with whole_file(path, UnfinishedError) as partial:
        partial.write_text(text, encoding="utf-8")
