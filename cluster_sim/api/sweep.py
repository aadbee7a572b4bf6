"""``sweep``: every combination of some values of a study from Python."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.shown_values import counted
from cluster_sim.study.sweep import SweepOptions, run_sweep
from cluster_sim.study.sweep_directory import RESULTS_FILE, Row

if TYPE_CHECKING:
    from pandas import DataFrame

_SHOWN: Final = ("status", "slo.verdict", "ttft_s.p99", "tpot_s.p99", "throughput.requests_per_s", "cost_usd")
"""Columns of a sweep's table in a notebook, after the keys."""


@dataclass(frozen=True)
class SweepTable:
    """The runs of a sweep."""

    directory: Path
    """Where ``results.parquet`` and ``results.csv`` are."""
    keys: tuple[str, ...]
    """The keys that vary."""

    @cached_property
    def runs(self) -> "DataFrame":
        """One row per run: the keys that vary, ``status``, ``error``, and every figure by its dotted name."""
        import pyarrow.parquet as pq

        frame: DataFrame = pq.read_table(self.directory / RESULTS_FILE).to_pandas()
        return frame

    def __repr__(self) -> str:
        """Return the number of runs and of those that failed."""
        failed = int((self.runs["status"] != "finished").sum())
        runs = counted(len(self.runs), "run")
        return f"<SweepTable of {runs} over {', '.join(self.keys)}; {failed} failed: {self.directory}>"

    def _repr_html_(self) -> str:
        """Return the most important columns for a notebook."""
        wanted = (
            *self.keys,
            "status",
            "slo.verdict",
            "ttft_s.p99",
            "tpot_s.p99",
            "throughput.requests_per_s",
            "cost_usd",
        )
        html: str = self.runs[[name for name in wanted if name in self.runs]]._repr_html_()
        return html


def sweep(
    study: Study,
    grid: Mapping[str, Sequence[Any]] | None = None,
    out: str | Path | None = None,
    *,
    executor: Literal["ray", "inline"] = "ray",
    address: str | None = None,
    resume: bool = False,
) -> SweepTable:
    """Run every combination of the values of ``grid``, by dotted keys; without it, of the study's own sweep block.

    Each run is a Ray task; ``executor="inline"`` runs one after the other in this process, which is quicker for few
    short runs.  ``out``, ``address`` and ``resume`` are those of the command ``sweep``.

    Raises InputError if the study, a key or ``out`` is wrong, UnfinishedError if the tasks cannot run.
    """
    document = study.document()
    if grid is not None:
        document.data["sweep"] = {"grid": {key: list(values) for key, values in grid.items()}}
    place = None if out is None else Path(out)
    options = SweepOptions(out=place, address=address, resume=resume)
    result = run_sweep(Path.cwd() / "study", document, options, run_in_turn if executor == "inline" else None)
    return SweepTable(result.directory, result.keys)


def run_in_turn(function: Callable[[Study], Row], studies: list[Study]) -> Iterator[tuple[int, Row | Exception]]:
    """Run a function over studies in this process; yield (position, result or exception)."""
    for position, study in enumerate(studies):
        try:
            yield position, function(study)
        except (InputError, UnfinishedError) as error:
            yield position, error
