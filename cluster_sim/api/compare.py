"""``compare``: the differences between two runs or sweeps, or a run and a benchmark, from Python."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from cluster_sim.api.result import Result
from cluster_sim.api.sweep import SweepTable
from cluster_sim.metrics.student_t import CONFIDENCE
from cluster_sim.report.comparison_report import plain, summary_text
from cluster_sim.study.comparison_sides import Comparison
from cluster_sim.study.comparison_sides import compare as compare_sides

if TYPE_CHECKING:
    from pandas import DataFrame

Side = Result | SweepTable | str | Path
"""A result, a sweep, the directory of one, or the file of a benchmark's results."""


@dataclass(frozen=True)
class ComparisonTable:
    """The differences between two sides."""

    _comparison: Comparison

    @cached_property
    def differences(self) -> "DataFrame":
        """One row per figure: both values, the difference with its interval, and what it means (``finding``)."""
        from pandas import DataFrame

        groups = plain(self._comparison)["groups"]
        return DataFrame([{**group["values"], **row} for group in groups for row in group["differences"]])

    @property
    def notes(self) -> list[str]:
        """What a reader should know of how the sides were compared."""
        return list(self._comparison.notes)

    def __repr__(self) -> str:
        """Return how many figures differ by more than chance."""
        return f"<ComparisonTable: {summary_text(self._comparison)}>"

    def _repr_html_(self) -> str:
        """Return the table for a notebook."""
        html: str = self.differences._repr_html_()
        return html


def compare(first: Side, second: Side, *, confidence: float = CONFIDENCE) -> ComparisonTable:
    """Compare two runs, two sweeps, or a run with a real benchmark; differences are ``second`` less ``first``.

    Raises InputError for a path that holds none of them, sides of different kinds, and damaged files.
    """
    return ComparisonTable(compare_sides(_path(first), _path(second), confidence))


def _path(side: Side) -> Path:
    return side.directory if isinstance(side, Result | SweepTable) else Path(side)
