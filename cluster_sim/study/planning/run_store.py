"""Directory of a plan: its study, its runs, and what is made of them; a plan goes on where it was stopped."""

from pathlib import Path
from typing import Final, Self

from cluster_sim.atomic_file import whole_file
from cluster_sim.config.loading.named_files import movable
from cluster_sim.config.schema.study import Study
from cluster_sim.directory_lock import LOCK_FILE, DirectoryLock
from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.study.planning.single_run import RunKey
from cluster_sim.study.replication_store import ReplicationStore
from cluster_sim.study.replications import Replication
from cluster_sim.study.study_record import check_record, record_text

STUDY_FILE: Final = "plan.yaml"
RUNS_FILE: Final = "runs.msgpack"
MOST_RUNS: Final = 1000
"""Replications of one fleet, at most."""


class RunStore:
    """The directory of a plan; a context manager that keeps other processes from writing it.

    Raises InputError if it holds something else than this plan, or cannot be written.
    """

    def __init__(self, directory: Path, base: Study, root: Path | None = None) -> None:
        """``root`` is the folder that is moved as a whole: files below it are named by paths from ``directory``."""
        self.directory = directory
        self.paths = movable(directory, root or directory)
        study = without_time_limit(base)
        file = directory / STUDY_FILE
        self.is_new = not file.exists()
        if self.is_new and directory.exists() and (not directory.is_dir() or _holds_files(directory)):
            raise InputError(f"--out {directory}: exists and is not the directory of a plan; give another or remove it")
        if not self.is_new:
            check_record(file, study, "plan")
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--out {directory}: cannot be written: {error.strerror or error}") from error
        self._lock = DirectoryLock(directory)
        self.write(STUDY_FILE, record_text(study, self.paths))
        self._runs = ReplicationStore(directory / RUNS_FILE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def discard(self) -> None:
        """Delete what a plan whose input was wrong has made, unless it was there before."""
        if self.is_new and not len(self._runs):
            (self.directory / STUDY_FILE).unlink(missing_ok=True)
            self._lock.release()
            self.directory.rmdir()

    def write(self, name: str, text: str) -> Path:
        """Write a file of the plan, whole or not at all; return its path."""
        path = self.directory / name
        with whole_file(path, UnfinishedError) as partial:
            partial.write_text(text, encoding="utf-8")
        return path

    @property
    def runs(self) -> int:
        """How many runs are kept."""
        return len(self._runs)

    def save(self, key: RunKey, run: Replication) -> None:
        """Keep one run."""
        self._runs.put(key, run)

    def load(self, fleet: str) -> dict[int, Replication]:
        """Return the runs of a fleet by their numbers."""
        found = ((number, self._runs.get((fleet, number))) for number in range(MOST_RUNS))
        return {number: run for number, run in found if run is not None}


def without_time_limit(base: Study) -> Study:
    """Return a study whose plan has the default time limit, which decides nothing but when to stop."""
    if base.plan is None:
        return base
    limit = type(base.plan).model_fields["time_limit_s"].get_default()
    return base.model_copy(update={"plan": base.plan.model_copy(update={"time_limit_s": limit})})


def _holds_files(directory: Path) -> bool:
    return any(path.name != LOCK_FILE for path in directory.iterdir())
