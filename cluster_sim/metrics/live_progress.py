"""Progress of live snapshots: no count that was shown may fall.

Replicas run ahead of the router by what the links allow, and how far depends on the windows that they are given.  A
run that goes back to an earlier state is given others, so the same simulated time does not yet mean the same counts.
And replicas may go on with cancelled requests beyond the run's end, where its figures end.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from cluster_sim.metrics.live import LiveSnapshot
from cluster_sim.metrics.live_figures import EngineFigures


def is_behind(snapshot: LiveSnapshot, earlier: LiveSnapshot) -> bool:
    """Return whether any count of ``snapshot`` is lower than that of ``earlier``, of the same run."""
    if any(one < other for one, other in zip(_scalars(snapshot), _scalars(earlier), strict=True)):
        return True
    if any(
        len(one) < len(other) or bool((one[: len(other)] < other).any())
        for one, other in zip(_arrays(snapshot), _arrays(earlier), strict=True)
    ):
        return True
    return snapshot.by_rank is not None and earlier.by_rank is not None and is_behind(snapshot.by_rank, earlier.by_rank)


def not_below(snapshot: LiveSnapshot, earlier: LiveSnapshot) -> LiveSnapshot:
    """Return a snapshot of the run's end whose engines' counts are at least those of an ``earlier`` one."""
    rows = min(len(snapshot.engines.matrix), len(earlier.engines.matrix))
    matrix = snapshot.engines.matrix.copy()
    counts = EngineFigures(matrix).counts
    np.maximum(counts[:rows], earlier.engines.counts[:rows], out=counts[:rows])
    by_rank = snapshot.by_rank
    if by_rank is not None and earlier.by_rank is not None:
        by_rank = not_below(by_rank, earlier.by_rank)
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
