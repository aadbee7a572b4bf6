"""``capacity``: the highest load of each configuration within limits, from Python."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster_sim.config.schema.study import Study
from cluster_sim.output.out_path import path_in_full
from cluster_sim.report.capacity_report import best_text
from cluster_sim.shown_values import counted
from cluster_sim.simulation.process_pool import ProcessPool
from cluster_sim.study.capacity_study import TOLERANCE, CapacityOptions, CapacityResult, run_capacity

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class CapacityTable:
    """The answers for all configurations."""

    _result: CapacityResult

    @property
    def directory(self) -> Path:
        """Where ``capacity.json`` and its table are."""
        return self._result.directory

    @cached_property
    def configurations(self) -> "DataFrame":
        """One row per configuration: the keys that vary, ``requests_per_s`` with its interval, figures and prices."""
        from pandas import DataFrame

        rows = []
        for row in self._result.rows:
            flat = {key: value for key, value in row.items() if not isinstance(value, dict | list)}
            figures = {name: figure["value"] for name, figure in (row["figures"] or {}).items()}
            rows.append({**row["values"], **flat, **figures})
        return DataFrame(rows)

    def __repr__(self) -> str:
        """Return the best configuration in one line."""
        return f"<CapacityTable of {counted(len(self._result.rows), 'configuration')}; {best_text(self._result.rows)}>"

    def _repr_html_(self) -> str:
        """Return the table for a notebook."""
        html: str = self.configurations._repr_html_()
        return html


def capacity(
    study: Study,
    grid: Mapping[str, Sequence[Any]] | None = None,
    out: str | Path | None = None,
    *,
    tolerance: float = TOLERANCE,
    processes: int | None = None,
    address: str | None = None,
    resume: bool = False,
) -> CapacityTable:
    """Find the highest load of every combination of the values of ``grid``; without it, of the study's sweep block.

    The runs are made by processes of this machine, so a program that is run as a file must call this below
    ``if __name__ == "__main__":``; with ``address`` they are Ray tasks.  The other arguments are those of the command.

    Raises InputError if the study, a key or ``out`` is wrong, UnfinishedError if the search was stopped.
    """
    document = study.document()
    if grid is not None:
        document.data["sweep"] = {"grid": {key: list(values) for key, values in grid.items()}}
    options = CapacityOptions(None if out is None else path_in_full(out), address, resume, tolerance)
    place = Path.cwd() / "study"
    if address is not None:
        return CapacityTable(run_capacity(place, document, options))
    with ProcessPool(processes) as pool:
        return CapacityTable(run_capacity(place, document, options, pool))
