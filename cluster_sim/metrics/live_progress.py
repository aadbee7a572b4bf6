"""Progress of live snapshots: no count that was shown may fall.

Replicas run ahead of the router by what the links allow, and how far depends on the windows that they are given.  A
run that goes back to an earlier state is given others, so the same simulated time does not yet mean the same counts.
And replicas may go on with cancelled requests beyond the run's end, where its figures end.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cluster_sim.metrics.live import LiveSnapshot
from cluster_sim.metrics.live_figures import EngineFigures

Counts = Sequence[npt.NDArray[Any]]
"""What never falls of a snapshot, by ``counts_of``."""
_ENGINES: Final = 1
"""Place of the engines' counts among them."""


def counts_of(snapshot: LiveSnapshot) -> Counts:
    """Return all counts of a snapshot: those of the run, of its engines and requests, and then those by rank."""
    counts = [np.array(_scalars(snapshot), np.int64), *_arrays(snapshot)]
    return counts if snapshot.by_rank is None else [*counts, *counts_of(snapshot.by_rank)]


def are_below(counts: Counts, least: Counts) -> bool:
    """Return whether any of ``counts`` is lower than that of ``least``, of the same run; replicas may have joined."""
    return any(
        len(one) < len(other) or bool((one[: len(other)] < other).any())
        for one, other in zip(counts, least, strict=False)
    )


def not_below(snapshot: LiveSnapshot, least: Counts) -> LiveSnapshot:
    """Return a snapshot of the run's end whose engines' counts are at least those of an earlier one."""
    engines = np.asarray(least[_ENGINES], np.int64)
    rows = min(len(snapshot.engines.matrix), len(engines))
    matrix = snapshot.engines.matrix.copy()
    counts = EngineFigures(matrix).counts
    np.maximum(counts[:rows], engines[:rows], out=counts[:rows])
    by_rank, own = snapshot.by_rank, len(counts_of(replace(snapshot, by_rank=None)))
    if by_rank is not None and len(least) > own:
        by_rank = not_below(by_rank, least[own:])
    return replace(snapshot, engines=EngineFigures(matrix), by_rank=by_rank)


def _scalars(snapshot: LiveSnapshot) -> tuple[int, ...]:
    requests, fleet = snapshot.requests, snapshot.fleet
    changes = [count for pool in fleet.pools for count in (pool.joined, pool.left)]
    counts = (snapshot.arrived, requests.retries, requests.attempts, fleet.migrated, fleet.moved_bytes)
    return (*counts, *requests.reasons, *changes)


def _arrays(snapshot: LiveSnapshot) -> Iterator[npt.NDArray[np.int64] | npt.NDArray[np.object_]]:
    requests = snapshot.requests
    yield snapshot.engines.counts
    yield requests.statuses
    yield requests.engine_statuses
    yield requests.sums
    yield from requests.histograms.values()
