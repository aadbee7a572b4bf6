"""All files that the fuzzer mutates, each with a command that reads it."""

from pathlib import Path

from tests.fuzz.directory_subjects import broken_runs, finished_runs, searches, sweeps
from tests.fuzz.foreign_subjects import benchmarks, deployments, measured_tables, picker_files
from tests.fuzz.study_subjects import devices_and_models, predictor_files, studies, traces
from tests.fuzz.subject import Subject


def subjects(folder: Path) -> list[Subject]:
    """Return all subjects, always in the same order; what must be made first is made in ``folder``."""
    found = [*studies(), *traces(), *devices_and_models(), *deployments(), *picker_files()]
    for make in (predictor_files, finished_runs, broken_runs, sweeps, searches, benchmarks, measured_tables):
        place = folder / make.__name__
        place.mkdir()
        found += make(place)
    return found
