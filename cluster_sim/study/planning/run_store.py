"""Store of a plan's runs: one file each, written whole, so that a plan goes on where it was stopped."""

import json
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from cluster_sim.atomic_file import whole_file
from cluster_sim.config.loading.canonical import resolved_yaml
from cluster_sim.config.loading.load import load_study
from cluster_sim.config.schema.study import Study
from cluster_sim.directory_lock import LOCK_FILE, DirectoryLock
from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.study.replications import Replication

STUDY_FILE: Final = "plan.yaml"
RUNS_FOLDER: Final = "runs"


class RunStore:
    """The directory of a plan; a context manager that keeps other processes from writing it.

    Raises InputError if it holds something else than runs of this plan, or cannot be written.
    """

    def __init__(self, directory: Path, base: Study) -> None:
        self.directory = directory
        self._runs = directory / RUNS_FOLDER
        text = resolved_yaml(without_time_limit(base))
        file = directory / STUDY_FILE
        self.is_new = not file.exists()
        if self.is_new and directory.exists() and (not directory.is_dir() or _holds_files(directory)):
            raise InputError(f"--out {directory}: exists and is not the directory of a plan; give another or remove it")
        if not self.is_new and not _is_same(file, text):
            raise InputError(f"--out {directory}: holds another plan than this one; give another --out, or remove it")
        try:
            self._runs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--out {directory}: cannot be written: {error.strerror or error}") from error
        self._lock = DirectoryLock(directory)
        self.write(STUDY_FILE, text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def discard(self) -> None:
        """Delete what a plan whose input was wrong has made, unless it was there before."""
        if self.is_new and not any(self._runs.iterdir()):
            (self.directory / STUDY_FILE).unlink(missing_ok=True)
            self._runs.rmdir()
            self._lock.release()
            self.directory.rmdir()

    def write(self, name: str, text: str) -> Path:
        """Write a file of the plan, whole or not at all; return its path."""
        path = self.directory / name
        with whole_file(path, UnfinishedError) as partial:
            partial.write_text(text, encoding="utf-8")
        return path

    def save(self, key: str, run: Replication) -> None:
        """Write one run."""
        about = {
            "number": run.number,
            "requests": run.requests,
            "lost": run.lost,
            "residences": run.residences,
            "figures": run.figures,
        }
        with whole_file(self._runs / f"{key}-{run.number}.npz", UnfinishedError) as partial, partial.open("wb") as file:
            names = list(run.samples)
            arrays: dict[str, Any] = {f"sample_{index}": run.samples[name] for index, name in enumerate(names)}
            np.savez_compressed(file, about=json.dumps({**about, "samples": names}), present=run.present, **arrays)

    def load(self, key: str) -> dict[int, Replication]:
        """Return the runs of a fleet by their numbers; a file that cannot be read counts as none."""
        found = {}
        for path in self._runs.glob(f"{key}-*.npz"):
            number = path.stem.removeprefix(f"{key}-")
            if number.isdecimal():
                try:
                    found[int(number)] = _read(path)
                except (OSError, ValueError, KeyError):
                    continue
        return found


def _read(path: Path) -> Replication:
    with np.load(path, allow_pickle=False) as data:
        about = json.loads(str(data["about"]))
        names = about.pop("samples")
        samples = {name: data[f"sample_{index}"] for index, name in enumerate(names)}
        return Replication(**about, present=data["present"], samples=samples)


def without_time_limit(base: Study) -> Study:
    """Return a study whose plan has the default time limit, which decides nothing but when to stop."""
    if base.plan is None:
        return base
    limit = type(base.plan).model_fields["time_limit_s"].get_default()
    return base.model_copy(update={"plan": base.plan.model_copy(update={"time_limit_s": limit})})


def _is_same(file: Path, text: str) -> bool:
    if file.read_text(encoding="utf-8") == text:
        return True
    try:
        return resolved_yaml(load_study(file)) == text
    except InputError:
        return False


def _holds_files(directory: Path) -> bool:
    return any(path.name != LOCK_FILE for path in directory.iterdir())
