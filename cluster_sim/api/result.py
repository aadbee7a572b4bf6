"""Result of a run: its figures, and its tables as data frames."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from cluster_sim.config.loading.load import load_study
from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.output.idle_rows import read_series
from cluster_sim.output.run_directory import REQUESTS_FILE, RESOLVED_FILE, SERIES_FILE, read_manifest
from cluster_sim.output.run_identity import check_identity, check_resolved
from cluster_sim.plain_file import read_text
from cluster_sim.report.result_tables import duration_text, gpus_text
from cluster_sim.shown_values import counted, cut
from cluster_sim.study.summary_figures import flat_figures

if TYPE_CHECKING:
    from pandas import DataFrame

_LATENCIES: Final = ("ttft_s", "tpot_s", "e2e_s", "queue_s")
_PERCENTILES: Final = ("mean", "p50", "p90", "p99")


@dataclass(frozen=True)
class Result:
    """A finished run.

    The tables are read from the run's directory when they are first asked for, and kept.
    """

    directory: Path
    """Where the run's files are."""
    figures: dict[str, Any]
    """``summary.json``: every figure, nested as in the file, for example ``figures["ttft_s"]["p99"]``."""
    digest: str
    """What runs with equal rows share."""
    _folder: TemporaryDirectory[str] | None = field(default=None, repr=False, compare=False)
    """Keeps a directory that nobody named until the result is gone."""

    @classmethod
    def load(cls, directory: str | Path) -> "Result":
        """Return the result of a run that was made before.

        Raises InputError if the directory holds none, or files that are damaged or of different runs.
        """
        from cluster_sim.report.run_data import RunData, undamaged

        place = Path(directory)
        run = RunData.read(place, takes_estimates=True)
        with undamaged(place):
            return cls(place, run.summary, run.manifest["digest"])

    @cached_property
    def requests(self) -> "DataFrame":
        """One row per request, the columns of ``requests.parquet``."""
        return _table(self.directory / REQUESTS_FILE, pq.read_table)

    @cached_property
    def series(self) -> "DataFrame":
        """The state of every replica over simulated time, the columns of ``series.parquet``; replicas that nothing
        reached are in it, with 0 everywhere.
        """
        return _table(self.directory / SERIES_FILE, read_series)

    @cached_property
    def summary(self) -> "DataFrame":
        """Every single figure: the dotted name as index (``ttft_s.p99``), and the column ``value``."""
        from pandas import DataFrame

        figures = flat_figures(self.figures)
        return DataFrame({"value": list(figures.values())}, index=list(figures), dtype=object)

    @cached_property
    def study(self) -> Study:
        """The study with every default, which gives this result again."""
        path = self.directory / RESOLVED_FILE
        check_resolved(path, read_text(path), read_manifest(self.directory) or {})
        return load_study(path)

    @property
    def verdict(self) -> str | None:
        """``met``, ``too close`` or ``missed``; None for a study without limits, and for an estimate."""
        verdict: str | None = None if self.is_estimate else self.figures["slo"]["verdict"]
        return verdict

    @property
    def is_estimate(self) -> bool:
        """Whether means were estimated and nothing was simulated (``run.detail: estimate``)."""
        return self.figures.get("detail") == "estimate"

    def __repr__(self) -> str:
        """Return the most important figures in one line."""
        figures, requests = self.figures, self.figures["requests"]
        if self.is_estimate:
            return f"<Result {figures['name']}: estimate, mean TPOT {duration_text(figures['tpot_s']['mean'])}>"
        ended = f"{requests['finished']:,} of {requests['total']:,} finished"
        latencies = ", ".join(f"{_title(name)} p99 {duration_text(figures[name]['p99'])}" for name in _LATENCIES[:2])
        verdict = "" if self.verdict is None else f", {self.verdict}"
        return f"<Result {figures['name']}: {ended}, {latencies}{verdict}>"

    def _repr_html_(self) -> str:
        """Return a small table for a notebook."""
        figures = self.figures
        if self.is_estimate:
            return escape(repr(self))
        head = "".join(f"<th>{name}</th>" for name in ("", *_PERCENTILES))
        rows = "".join(
            f"<tr><th>{_title(name)}</th>"
            + "".join(f"<td>{duration_text(figures[name][figure])}</td>" for figure in _PERCENTILES)
            + "</tr>"
            for name in _LATENCIES
        )
        throughput, requests = figures["throughput"], figures["requests"]
        parts = [
            f"{requests['finished']:,} of {counted(requests['total'], 'request')} finished",
            f"{throughput['requests_per_s']:,.2f} requests/s, {throughput['output_tokens_per_s']:,.0f} output tokens/s",
            f"{gpus_text(figures)}, {figures['cost_usd']:,.2f} USD",
        ]
        parts += [] if self.verdict is None else [f"objectives: {self.verdict}"]
        lines = "".join(f"<div>{escape(part)}</div>" for part in parts)
        return f"<b>{escape(figures['name'])}</b>{lines}<table><tr>{head}</tr>{rows}</table>"


def _title(name: str) -> str:
    return {"e2e_s": "E2E", "queue_s": "queue"}.get(name, name.removesuffix("_s").upper())


def _table(path: Path, read: Callable[[Path], pa.Table]) -> "DataFrame":
    if not path.exists():
        raise InputError(f"{path}: the run wrote no such table (run.series_interval_s: 0 writes no series)")
    check_identity(path, read_manifest(path.parent))
    try:
        frame: DataFrame = read(path).to_pandas()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read: {cut(str(error), 300)}") from error
    return frame
