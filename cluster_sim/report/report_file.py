"""``report.html`` and ``comparison.html``: the page of a run or of a sweep, and that of two runs, self-contained."""

from pathlib import Path
from typing import Final

from cluster_sim.atomic_file import whole_file
from cluster_sim.report.comparison_page import comparison_page
from cluster_sim.report.run_data import RunData, undamaged
from cluster_sim.report.run_page import run_page
from cluster_sim.report.sweep_data import SweepData
from cluster_sim.report.sweep_page import sweep_page
from cluster_sim.study.sweep_directory import RESULTS_FILE

REPORT_FILE: Final = "report.html"
COMPARISON_FILE: Final = "comparison.html"


def write_report(directory: Path, output: Path | None = None) -> Path:
    """Write the report of the run or sweep in ``directory``, into it or to ``output``; return the file.

    Raises InputError if there is no complete run or sweep, or if the file cannot be written.
    """
    with undamaged(directory):
        page = sweep_page(SweepData.read(directory)) if is_sweep(directory) else run_page(RunData.read(directory))
    return _write(page, output or directory / REPORT_FILE)


def write_comparison(first: Path, second: Path, output: Path | None = None) -> Path:
    """Write the comparison of two runs, into the directory of the first or to ``output``; return the file.

    Raises InputError if one is no complete run, or if the file cannot be written.
    """
    with undamaged(first):
        page = comparison_page(RunData.read(first), RunData.read(second))
    return _write(page, output or first / COMPARISON_FILE)


def is_sweep(directory: Path) -> bool:
    """Return whether a directory is that of a sweep."""
    return (directory / RESULTS_FILE).exists()


def _write(page: str, file: Path) -> Path:
    with whole_file(file) as partial:
        partial.write_text(page, encoding="utf-8")
    return file
