"""The requests of one run in order of arrival: their latencies, how they ended, and how many were in the system."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from cluster_sim.metrics.latencies import latencies_ns
from cluster_sim.metrics.objectives import ClassMatch
from cluster_sim.metrics.trend import BATCHES
from cluster_sim.recording.reasons import REASONS
from cluster_sim.recording.rows import FIELD, RowBlock
from cluster_sim.recording.statuses import FINISHED, STATUSES
from cluster_sim.units import NS_PER_S

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Int64Array = npt.NDArray[np.int64]

METRICS: Final = ("ttft_s", "tpot_s", "e2e_s")
"""Latencies of a request, as the columns of ``requests.parquet`` have them."""

_FINISHED_CODE: Final = STATUSES.index(FINISHED)


@dataclass(frozen=True, slots=True)
class RequestSample:
    """The requests of a run, of which those in ``window`` are measured."""

    arrival_s: Floats
    left_s: Floats
    """When each request left, however it ended."""
    is_finished: Flags
    latencies_s: dict[str, Floats]
    """By name of ``METRICS``: infinite for a lost request, NaN where a request has no such latency."""
    lost: dict[str, int]
    """Requests that did not finish, by status and reason."""
    block: RowBlock
    """The rows themselves, in the same order."""
    window: slice

    @property
    def count(self) -> int:
        """The number of requests."""
        return len(self.arrival_s)

    @property
    def lost_ratio(self) -> float:
        """The share of the requests that did not finish."""
        return sum(self.lost.values()) / self.count

    @property
    def residences(self) -> float:
        """The time between the first and the last arrival, in mean times that a measured request is in the system."""
        stays_s = (self.left_s - self.arrival_s)[self.window]
        residence_s = float(np.mean(stays_s)) if len(stays_s) else 0.0
        return float(self.arrival_s[-1] - self.arrival_s[0]) / max(residence_s, 1e-9)

    def measured(self, metric: str, match: ClassMatch | None = None) -> Floats:
        """Return the measured values of a latency, of a class of requests if one is given; lost ones are infinite."""
        values = self.latencies_s[metric][self.window]
        if match is not None:
            values = values[self._matches(match)[self.window]]
        return values[~np.isnan(values)]

    def present(self) -> Floats:
        """Return the mean number of requests in the system in each of ``BATCHES`` equal batches of arrivals."""
        left_s = np.sort(self.left_s)
        present = np.arange(1, self.count + 1) - np.searchsorted(left_s, self.arrival_s, side="right")
        edges = np.linspace(self.window.start, self.window.stop, BATCHES + 1).astype(int).tolist()
        return np.array([float(present[low:high].mean()) if high > low else 0.0 for low, high in pairwise(edges)])

    def _matches(self, match: ClassMatch) -> Flags:
        block, matches = self.block, np.ones(self.count, np.bool_)
        words = {"tenant": block.tenants, "model": block.models, "slo_class": block.slo_classes}
        for name, wanted in match.given().items():
            codes = block.column(name)
            if name in words:
                known = list(words[name])
                matches &= codes == (known.index(str(wanted)) if wanted in known else -2)
            else:
                matches &= codes == wanted
        return matches


def request_sample(block: RowBlock, window: Callable[[Int64Array], slice] | None = None) -> RequestSample:
    """Return the sample of a run's rows; ``window`` finds the measured ones by the sorted arrivals in ns, int64[n]."""
    order = np.lexsort((block.column("request_id"), block.column("arrival_ns")))
    block = block._replace(rows=block.rows[order])
    arrival_ns, finish_ns = block.column("arrival_ns"), block.column("finish_ns")
    is_finished = block.column("status") == _FINISHED_CODE
    latencies = latencies_ns(block)
    gaps = block.column("output_tokens") - 1
    tpot_s = np.where(gaps > 0, latencies.decode / np.maximum(gaps, 1), np.nan) / NS_PER_S
    values = {"ttft_s": latencies.ttft / NS_PER_S, "tpot_s": tpot_s, "e2e_s": latencies.e2e / NS_PER_S}
    return RequestSample(
        arrival_ns / NS_PER_S,
        np.where(finish_ns < 0, arrival_ns, finish_ns) / NS_PER_S,
        is_finished,
        {name: np.where(is_finished, values[name], np.inf) for name in METRICS},
        _lost(block, is_finished),
        block,
        slice(0, len(arrival_ns)) if window is None else window(arrival_ns),
    )


def joined_blocks(blocks: list[RowBlock]) -> RowBlock:
    """Return blocks of one run as one; the last one's words hold those of all before it."""
    rows = np.concatenate([block.rows for block in blocks]) if blocks else np.zeros((0, len(FIELD)), np.int64)
    return (blocks[-1] if blocks else RowBlock(rows, (), (), ()))._replace(rows=rows)


def _lost(block: RowBlock, is_finished: Flags) -> dict[str, int]:
    lost = block.rows[~is_finished]
    pairs = zip(lost[:, FIELD["status"]].tolist(), lost[:, FIELD["reason"]].tolist(), strict=True)
    counts = Counter(pairs)
    return {
        f"{STATUSES[status]} ({REASONS[reason]})" if REASONS[reason] else STATUSES[status]: count
        for (status, reason), count in sorted(counts.items())
    }
