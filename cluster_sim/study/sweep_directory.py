"""Directory of one sweep: written below ``DIR.partial``, renamed to ``DIR`` when all variants are done.

Each finished run is one file ``runs/<run id>.json``, written under a temporary name and renamed, so whatever kills the
sweep leaves whole results only.  A run id begins with the variant's place in the grid, by which results are found
again: the rest, the hash of its configuration, may change with the form in which a release writes studies.
While a process runs the sweep it holds the directory's lock, so no other one resumes it.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from glob import escape
from pathlib import Path
from typing import Any, Final, Self

from cluster_sim.atomic_file import whole_file
from cluster_sim.config.loading.canonical import HASH_DIGITS, config_hash
from cluster_sim.config.schema.study import Study
from cluster_sim.directory_lock import LOCK_FILE, DirectoryLock
from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.output.out_path import result_path
from cluster_sim.output.run_directory import is_empty_directory
from cluster_sim.plain_file import read_text
from cluster_sim.study.study_record import check_record, is_record_of, record_text
from cluster_sim.study.sweep_table import write_csv, write_rows

RESULTS_FILE: Final = "results.parquet"
TABLE_FILE: Final = "results.csv"
BASE_FILE: Final = "sweep.yaml"
RUNS_FOLDER: Final = "runs"

CHECKSUM: Final = "checksum"
FINISHED: Final = "finished"
FAILED: Final = "failed"

Row = dict[str, Any]


def default_directory(base: Study, *, is_resumed: bool) -> Path:
    """Return the directory of a sweep that was given none: ``sweeps/<name>-<config hash>``.

    A sweep to be resumed may have been begun by a release that hashed the same study otherwise.
    """
    directory = Path("sweeps") / f"{base.name}-{config_hash(base)}"
    if is_resumed and not any(place.exists() for place in (directory, partial_of(directory))):
        pattern = f"{escape(base.name)}-{'[0-9a-f]' * HASH_DIGITS}"
        for place in sorted([*directory.parent.glob(pattern), *directory.parent.glob(f"{pattern}.partial")]):
            if is_record_of(place / BASE_FILE, base):
                return place.with_name(place.name.removesuffix(".partial"))
    return directory


def partial_of(directory: Path) -> Path:
    """Return where a sweep is written until it is complete."""
    return directory.with_name(directory.name + ".partial")


class SweepDirectory:
    """The files of one sweep; a context manager that keeps other processes from writing them."""

    results_file = RESULTS_FILE
    """File that a complete directory has."""
    base_file = BASE_FILE
    """File with the study."""
    words = "sweep"
    """What the directory holds, in messages."""
    statuses: tuple[str, ...] = (FINISHED, FAILED)
    """Statuses of results; a file with another is damaged."""

    def __init__(self, final: Path) -> None:
        self.final = result_path(final)
        self.partial = partial_of(self.final)
        self.is_complete = False
        self._lock: DirectoryLock | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.release()

    def open(self, base: Study, *, is_resumed: bool) -> dict[int, Row]:
        """Prepare the directory for the sweep of ``base``; return the results that are there already by variant.

        Raises InputError if the directory holds something else or results of another release, another process writes
        it, or it cannot be written.
        """
        place = self.partial
        if is_resumed and not self.partial.exists() and (self.final / self.results_file).exists():
            place, self.is_complete = self.final, True
        if self.partial.is_dir():
            self._lock = DirectoryLock(self.partial)
        if is_resumed and place.exists():
            check_record(place / self.base_file, base, self.words)
            return _results(place, self.statuses)
        if self.partial.exists():
            raise InputError(
                f"{self.partial}: holds a {self.words} that did not finish; continue it with --resume, or remove it"
            )
        if self.final.exists() and not (self.final / self.results_file).exists() and not is_empty_directory(self.final):
            raise InputError(
                f"--out {self.final}: exists and is not the directory of a {self.words}; give another or remove it"
            )
        try:
            self.partial.mkdir(parents=True)
            self._lock = DirectoryLock(self.partial)
            (self.partial / RUNS_FOLDER).mkdir()
        except OSError as error:
            raise InputError(f"--out {self.final}: cannot be written: {error.strerror or error}") from error
        write_text(self.partial / self.base_file, record_text(base))
        return {}

    def save(self, run_id: str, result: Row) -> None:
        """Write one run's result, whole or not at all."""
        sealed = {**result, CHECKSUM: _checksum(result)}
        write_text(self.partial / RUNS_FOLDER / f"{run_id}.json", json.dumps(sealed, indent=1, allow_nan=False) + "\n")

    def whole_results(self, done: dict[int, Row], run_ids: Sequence[str]) -> list[Row]:
        """Return the results of a complete directory, in the order of ``run_ids``, which begin with 0.

        Raises InputError if one is missing or damaged.
        """
        lost = next((run_id for index, run_id in enumerate(run_ids) if index not in done), None)
        if lost is not None:
            raise InputError(
                f"{self.final}: is damaged: the result of run {lost} is missing, or not as it was written; remove the "
                "directory, or give another --out"
            )
        return [done[index] for index in range(len(run_ids))]

    def discard(self) -> None:
        """Delete the directory."""
        shutil.rmtree(self.partial, ignore_errors=True)

    def complete(self, rows: list[Row]) -> Path:
        """Write the tables and give the directory its name; return it."""
        write_rows(rows, self.partial / RESULTS_FILE)
        write_csv(rows, self.partial / TABLE_FILE)
        return self.rename()

    def rename(self) -> Path:
        """Give the directory, whose files are all written, its name; return it."""
        if self.final.exists():
            shutil.rmtree(self.final)
        self.partial.replace(self.final)
        (self.final / LOCK_FILE).unlink(missing_ok=True)
        return self.final


def _results(place: Path, statuses: tuple[str, ...]) -> dict[int, Row]:
    """Return the results in a directory by the variant's place in the grid; one that finished goes before others."""
    results: dict[int, Row] = {}
    for file in sorted((place / RUNS_FOLDER).glob("*.json")):
        try:
            index, result = int(file.stem.partition("-")[0]), json.loads(read_text(file))
            is_whole = result.pop(CHECKSUM) == _checksum(result) if CHECKSUM in result else _is_earlier(result)
            is_result = is_whole and result["status"] in statuses
        except (InputError, RecursionError, ValueError, TypeError, KeyError, AttributeError):
            continue  # Damaged: the run is done again.
        if is_result and results.get(index, {}).get("status") != FINISHED:
            results[index] = result
    return results


def _is_earlier(result: Row) -> bool:
    """Return whether a result may be a sweep's of an earlier release, which had no checksums."""
    kinds = {"status": str, "error": str | None, "digest": str, "summary": dict}
    return result.keys() <= kinds.keys() and all(isinstance(value, kinds[name]) for name, value in result.items())


def _checksum(result: Row) -> str:
    """Return what tells a result that was changed on disk."""
    return hashlib.sha256(json.dumps(result, sort_keys=True).encode()).hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a file, whole or not at all; raises UnfinishedError if it cannot be written."""
    with whole_file(path, UnfinishedError) as partial:
        partial.write_text(text, encoding="utf-8")
