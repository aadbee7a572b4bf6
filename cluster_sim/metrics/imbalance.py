"""Imbalance between replicas: how unevenly requests in flight and used KV blocks are spread, tick by tick.

At each tick of the series at which something is there, the largest value over the mean, and the standard deviation over
the mean (coefficient of variation), of the replicas present; both are averaged over the ticks.  1 and 0 are perfect
balance.  All sums are integers, so the order in which replicas are added changes nothing.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from cluster_sim.metrics.growing_bins import padded
from cluster_sim.metrics.run_metadata import RunMetadata

Int64Array = npt.NDArray[np.int64]

_PARTS: Final = 100_000
"""Resolution of the share of KV blocks in use."""


class Imbalance(NamedTuple):
    """Averages over time; None if there was no tick with several replicas and something to share."""

    requests_max_over_mean: float | None = None
    requests_cv: float | None = None
    kv_max_over_mean: float | None = None
    kv_cv: float | None = None


class _Spread:
    """Sums over the replicas of one set, by tick."""

    def __init__(self) -> None:
        self.counts = self.sums = self.squares = self.maxima = np.zeros(0, np.int64)

    def add(self, ticks: Int64Array, values: Int64Array) -> None:
        """Add one replica's values at ``ticks``, each of which comes once."""
        length = int(ticks[-1]) + 1
        for name in ("counts", "sums", "squares", "maxima"):
            setattr(self, name, padded(getattr(self, name), length).copy())
        self.counts[ticks] += 1
        self.sums[ticks] += values
        self.squares[ticks] += values * values
        self.maxima[ticks] = np.maximum(self.maxima[ticks], values)

    def add_empty(self, replicas: int, ticks: int) -> None:
        """Add replicas that were empty at so many ticks, from the first on."""
        for name in ("counts", "sums", "squares", "maxima"):
            setattr(self, name, padded(getattr(self, name), ticks + 1).copy())
        self.counts[1 : ticks + 1] += replicas

    def averages(self) -> tuple[float | None, float | None]:
        """Return the averages of (largest over mean, coefficient of variation)."""
        chosen = (self.counts > 1) & (self.sums > 0)
        if not chosen.any():
            return None, None
        counts, sums = self.counts[chosen], self.sums[chosen]
        # n sum(x^2) - sum(x)^2 is n^2 times the variance.
        spread = np.sqrt((counts * self.squares[chosen] - sums * sums).astype(np.float64))
        return float((self.maxima[chosen] * counts / sums).mean()), float((spread / sums).mean())


class ImbalanceTally:
    """Takes the series of every replica; the last set is the whole fleet, those before are its pools."""

    def __init__(self, metadata: RunMetadata, interval_ns: int) -> None:
        self._pool_of_replica = metadata.pool_of_replica()
        self._kv_blocks = [max(pool.kv_blocks, 1) for pool in metadata.pools]
        self._interval_ns = interval_ns
        self._joined: dict[int, list[dict[str, Int64Array]]] = {}
        """Ticks of replicas that have joined, whose pools are known at the end."""
        sets = len(metadata.pools) + 1
        self._requests = [_Spread() for _ in range(sets)]
        self._kv = [_Spread() for _ in range(sets)]
        self._with_rows: set[int] = set()

    def add(self, replica: int, columns: Mapping[str, Int64Array]) -> None:
        """Count what ``ReplicaLog.take_series`` of ``replica`` returned."""
        if not len(columns["time_ns"]):
            return
        if replica >= len(self._pool_of_replica):
            names = ("time_ns", "running", "waiting", "kv_used_blocks")
            self._joined.setdefault(replica, []).append({name: columns[name].copy() for name in names})
            return
        self._with_rows.add(replica)
        pool = self._pool_of_replica[replica]
        ticks = columns["time_ns"] // self._interval_ns
        in_flight = columns["running"] + columns["waiting"]
        parts = columns["kv_used_blocks"] * _PARTS // self._kv_blocks[pool]
        for index in (pool, -1):
            self._requests[index].add(ticks, in_flight)
            self._kv[index].add(ticks, parts)

    def figures(self, joined_pools: Sequence[int] = (), ticks: int = 0) -> list[Imbalance]:
        """Return the figures of every pool, then of the fleet; ``joined_pools`` has the pools of those that joined.

        A replica without rows was empty at each of the run's ``ticks``.
        """
        without = [pool for replica, pool in enumerate(self._pool_of_replica) if replica not in self._with_rows]
        self._with_rows.update(range(len(self._pool_of_replica)))
        for pool, replicas in Counter(without).items():
            for index in (pool, -1):
                for spreads in (self._requests, self._kv):
                    spreads[index].add_empty(replicas, ticks)
        self._pool_of_replica = [*self._pool_of_replica, *joined_pools]
        for replica, blocks in self._joined.items():
            for columns in blocks:
                self.add(replica, columns)
        self._joined.clear()
        return [
            Imbalance(*requests.averages(), *kv.averages())
            for requests, kv in zip(self._requests, self._kv, strict=True)
        ]


def imbalance_entry(imbalances: Sequence[Imbalance], index: int) -> dict[str, Any]:
    """Return the figures of one set as the summary has them; nulls without a series."""
    return (imbalances[index] if imbalances else Imbalance())._asdict()
