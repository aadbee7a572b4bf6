"""``report.html``, the page of a run or of a sweep, and ``comparison.html``: each in one self-contained file."""

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
    return _write(page, output or page_path(directory))


def write_comparison(first: Path, second: Path, output: Path | None = None) -> Path:
    """Write the comparison of two runs, two sweeps, or a run and a benchmark, into the first's folder or to
    ``output``; return the file.

    Raises InputError if a side is none of these, or if the file cannot be written.
    """
    with undamaged(first):
        page = comparison_page(first, second)
    return _write(page, output or page_path(first, is_comparison=True))


def page_path(directory: Path, *, is_comparison: bool = False) -> Path:
    """Return where a page is written that is not told where; the first side of a comparison may be a file."""
    if is_comparison:
        return (directory if directory.is_dir() else directory.parent) / COMPARISON_FILE
    return directory / REPORT_FILE


def is_sweep(directory: Path) -> bool:
    """Return whether a directory is that of a sweep."""
    return (directory / RESULTS_FILE).exists()


def _write(page: str, file: Path) -> Path:
    with whole_file(file) as partial:
        partial.write_text(page, encoding="utf-8")
    return file
