"""Evidence of a run: what must be equal on every executor and placement, in a form that compares."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cluster_sim.errors import UnfinishedError
from cluster_sim.hardware.predictors.coverage import Coverage
from cluster_sim.metrics.digest import canonical_rows, word_code
from cluster_sim.recording.rows import FIELD, ROW_FIELDS, RowBlock
from cluster_sim.recording.series_columns import rank_key
from cluster_sim.simulation.executor import Executor, RunOutputs
from cluster_sim.simulation.simulation import Simulation


@dataclass
class Evidence:
    """What a run left."""

    digest: str
    replicas: list[Any]
    """Counters by replica."""
    series: list[list[tuple[int, ...]]]
    """Rows of the time series by replica, however they were cut into deliveries."""
    coverage: list[Coverage]
    """Where the step predictions lie, by replica."""
    rows: list[tuple[int, ...]]
    """``ROW_FIELDS`` by request id; empty unless the simulation keeps rows."""

    ranks: dict[int, list[Any]] = field(default_factory=dict)
    """Counters and rows of the time series of data-parallel ranks by ``rank_key``, where replicas have several."""

    def column(self, name: str) -> list[int]:
        """Return one column of the rows by request id."""
        index = ROW_FIELDS.index(name)
        return [row[index] for row in self.rows]


def evidence_of(executor: Executor, simulation: Simulation) -> Evidence:
    """Run a simulation and return what it left."""
    series: list[list[tuple[int, ...]]] = [[] for _ in range(simulation.replicas)]

    ranks: dict[int, list[Any]] = {}

    def add(key: int, columns: dict[str, Any]) -> None:
        series.extend([] for _ in range(len(series), key + 1))
        held = series[key] if key >= 0 else ranks.setdefault(key, [])
        held.extend(zip(*(column.tolist() for column in columns.values()), strict=True))

    outcome = executor.run(simulation, RunOutputs(series=add))
    counters = [replica.counters for replica in outcome.replicas]
    coverage = [replica.coverage for replica in outcome.replicas]
    for number, replica in enumerate(outcome.replicas):
        for rank, figures in enumerate(replica.ranks):
            ranks.setdefault(rank_key(number, rank), []).append(figures)
    rows = sorted(row for block in outcome.hub.rows or [] for row in plain_rows(block))
    return Evidence(outcome.hub.digest, counters, series, coverage, rows, ranks)


def outcome_of(executor: Executor, simulation: Simulation) -> Evidence | str:
    """Run a simulation and return what it left, or the words with which it gives up."""
    try:
        return evidence_of(executor, simulation)
    except UnfinishedError as error:
        return f"gives up: {error}"


def plain_rows(block: RowBlock) -> list[tuple[int, ...]]:
    """Return the rows of a block as tuples, with words that do not depend on the order of the rows."""
    rows, canonical = block.rows.copy(), canonical_rows(block)
    for name in ("tenant", "model"):
        rows[:, FIELD[name]] = canonical[:, FIELD[name]]
    codes = np.array([word_code(word) for word in block.slo_classes], np.int64)
    rows[:, FIELD["slo_class"]] = codes[rows[:, FIELD["slo_class"]]]
    return list(map(tuple, rows.tolist()))
