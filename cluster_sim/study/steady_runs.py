"""Runs at steady rates that are as long as a judgement needs, whatever the length of the study's workload.

Design.  A run lasts at least ``LEAST_RESIDENCES`` times as long as a request is in the system, and is doubled while it
leaves the judgement unclear, up to ``MOST_RESIDENCES`` and ``UNCLEAR_REQUESTS``.  A drawn workload is given as many
requests as that takes; a trace that is shorter is laid end to end, each time from another of its moments on.
"""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq

from cluster_sim.config.schema.measurement import Phase
from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.output.run_directory import REQUESTS_FILE
from cluster_sim.recording.statuses import FINISHED
from cluster_sim.simulation.run_options import RunOptions
from cluster_sim.study.limited_figures import LoadLimit
from cluster_sim.study.load_judgement import (
    LEAST_RESIDENCES,
    Judgement,
    Outcome,
    RequestRows,
    figure_s,
    judge,
)
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.build import build_columns
from cluster_sim.workload.kind_interface import WorkloadConfig, kind_of
from cluster_sim.workload.kinds.trace import TraceWorkload
from cluster_sim.workload.traces.bootstrap import Bootstrap

FIRST_REQUESTS: Final = 1000
"""Requests of the first run at a rate: enough for a 99th percentile."""
MOST_RESIDENCES: Final = 100
UNCLEAR_REQUESTS: Final = 20_000
"""Fewer requests than this do not leave a judgement unclear."""
MOST_COUNTED: Final = 500_000
"""Requests of the longest run, whose rows fit into memory many times."""

WHOLE: Final = Phase(kind="none")
"""The runs are judged by their rows, so their summaries need no measured window."""

INTERVALS: Final = ("ttft_s", "tpot_s", "e2e_s")
TRAITS: Final = ("tenant", "model", "priority", "slo_class")
"""Columns by which classes of requests are told."""


class SteadyRuns:
    """The runs of one configuration by their rates; each is made once and lengthened when a judgement needs it."""

    def __init__(self, study: Study) -> None:
        """Prepare; raises InputError if the load of the study cannot be varied."""
        kind_of(study.workload).mean_rate()
        if getattr(study.workload, "max_concurrency", None) is not None:
            raise InputError(
                "workload.max_concurrency: clients that hold requests back hide an overload; a search of the highest "
                "load needs clients that do not: remove it"
            )
        self._study = study
        self._runs: dict[float, tuple[RequestRows, dict[str, Any]]] = {}
        self.made = 0
        """Runs made so far."""

    def judge(self, rate_per_s: float, limits: Sequence[LoadLimit]) -> Judgement:
        """Return the judgement on a rate, from a run that is long enough."""
        rows = self._rows(rate_per_s, FIRST_REQUESTS)
        while True:
            judgement = judge(rows, limits)
            needed = self._needed(rows, judgement)
            if needed <= rows.count:
                return judgement
            longer = self._rows(rate_per_s, needed)
            if longer.count <= rows.count:
                return judgement  # The workload cannot be lengthened.
            rows = longer

    def summary(self, rate_per_s: float) -> dict[str, Any]:
        """Return the summary of the longest run at a rate that was judged."""
        return self._runs[rate_per_s][1]

    def figure_s(self, rate_per_s: float, limit: LoadLimit) -> float:
        """Return the figure that ``limit`` limits, at a rate that was judged."""
        return figure_s(self._runs[rate_per_s][0], limit)

    def lost_ratio(self, rate_per_s: float) -> float:
        """Return the share of requests that did not finish, at a rate that was judged."""
        rows = self._runs[rate_per_s][0]
        return sum(rows.lost.values()) / rows.count

    def _needed(self, rows: RequestRows, judgement: Judgement) -> int:
        """Return the number of requests that a run must have after this one, which may be its own."""
        if judgement.outcome is Outcome.OVERLOADED:
            return rows.count
        wanted = 1.0
        if rows.residences < LEAST_RESIDENCES:
            wanted = min(1.1 * LEAST_RESIDENCES / rows.residences, 3.0)
        elif judgement.outcome is Outcome.UNCLEAR and (
            rows.residences < MOST_RESIDENCES or rows.count < UNCLEAR_REQUESTS
        ):
            wanted = 2.0
        return min(math.ceil(rows.count * wanted), max(MOST_COUNTED, rows.count))

    def _rows(self, rate_per_s: float, requests: int) -> RequestRows:
        known = self._runs.get(rate_per_s)
        if known is None or known[0].count < requests:
            known = self._runs[rate_per_s] = _run(lengthened(self._study, rate_per_s, requests))
            self.made += 1
        return known[0]


def lengthened(study: Study, rate_per_s: float, requests: int) -> Study:
    """Return the study at another mean rate, with at least ``requests`` of them, run until all have ended."""
    workload: WorkloadConfig = kind_of(study.workload).at_rate(rate_per_s)
    if isinstance(workload, TraceWorkload):
        workload = workload.model_copy(update={"bootstrap": _bootstrap(workload, study.seed, requests)})
    else:
        workload = workload.model_copy(update={"count": requests, "duration_s": None})
    own = {"end_s": None, "warmup": WHOLE, "measure": WHOLE, "series_interval_s": 0.0, "event_trace": False}
    run = study.run.model_copy(update=own)
    return study.model_copy(update={"workload": workload, "run": run})


def _bootstrap(workload: TraceWorkload, seed: int, requests: int) -> Bootstrap | None:
    """Return how a trace is resampled to a number of requests; None if it has as many."""
    if workload.bootstrap is not None:
        return workload.bootstrap.model_copy(update={"count": requests, "duration_s": None})
    blocks = list(build_columns(workload, seed).columns())
    if sum(map(len, blocks)) >= requests:
        return None
    # The windows are as long as the trace and wrap around its end: every one has each row once.
    return Bootstrap(window_s=(int(blocks[-1].arrival_ns[-1]) + 1) / NS_PER_S, count=requests)


def _run(study: Study) -> tuple[RequestRows, dict[str, Any]]:
    """Run a study in this process; return its requests and its summary."""
    from cluster_sim.simulation.run import run_study

    traits = TRAITS if study.slo.classes else ()
    with TemporaryDirectory(prefix="cluster-sim-capacity-") as folder:
        result = run_study(study, RunOptions(executor="inline", out=Path(folder) / "run", needs_service=False))
        names = ["arrival_s", "finish_s", "status", "reason", *INTERVALS, *traits]
        table = pq.read_table(result.directory / REQUESTS_FILE, columns=names).sort_by("arrival_s")
    status = table["status"].to_numpy()
    lost = Counter(
        f"{word} ({reason})" if reason else str(word)
        for word, reason in zip(status, table["reason"].to_pylist(), strict=True)
        if word != FINISHED
    )
    arrival_s, finish_s = table["arrival_s"].to_numpy(), table["finish_s"].to_numpy()
    rows = RequestRows(
        arrival_s,
        np.where(np.isnan(finish_s), arrival_s, finish_s),
        status == FINISHED,
        {name: table[name].to_numpy() for name in INTERVALS},
        dict(lost),
        result.summary["itl_s"],
        {name: np.array(table[name].to_pylist(), dtype=object) for name in traits},
    )
    return rows, result.summary
