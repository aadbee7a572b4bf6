"""Tests of the imbalance between replicas."""

import numpy as np
import pytest

from cluster_sim.metrics.imbalance import Imbalance, ImbalanceTally
from cluster_sim.metrics.objectives import Slo
from cluster_sim.metrics.run_metadata import PoolMetadata, RunMetadata

S = 1_000_000_000


def _columns(running: list[int], waiting: list[int], used: list[int], first: int = 1) -> dict[str, np.ndarray]:
    ticks = (np.arange(len(running)) + first) * S
    named = {"running": running, "waiting": waiting, "kv_used_blocks": used}
    return {"time_ns": ticks, **{name: np.array(values, np.int64) for name, values in named.items()}}


def _tally(*replicas: int) -> ImbalanceTally:
    pools = [PoolMetadata(f"p{index}", "m", "d", count, 1, 1.0, "", 100) for index, count in enumerate(replicas)]
    return ImbalanceTally(RunMetadata("hand", 1, tuple(pools), Slo()), S)


def test_two_replicas_by_hand() -> None:
    """Ticks of (3, 1) and (2, 2) requests: 1.5 and 1 over the mean, variations 0.5 and 0; an empty tick counts not."""
    tally = _tally(2)
    tally.add(0, _columns([2, 2, 0], [1, 0, 0], [50, 0, 0]))
    tally.add(1, _columns([1, 2, 0], [0, 0, 0], [0, 0, 0]))
    pool, fleet = tally.figures()
    assert pool == fleet
    assert pool == pytest.approx(Imbalance(1.25, 0.25, 2.0, 1.0))


def test_pools_and_joined_replicas() -> None:
    """A replica that joins counts at its ticks, and one alone in its pool has nobody to be compared with."""
    tally = _tally(1, 1)
    tally.add(0, _columns([4, 4], [0, 0], [40, 40]))
    tally.add(2, _columns([0], [2], [20], first=2))
    tally.add(1, _columns([4, 0], [0, 0], [40, 0]))
    first, second, fleet = tally.figures([0])
    assert second == Imbalance()
    assert first == pytest.approx(Imbalance(4 / 3, 1 / 3, 4 / 3, 1 / 3))
    assert fleet.requests_max_over_mean == pytest.approx((1 + 2) / 2)


def test_the_order_of_replicas_and_blocks_changes_nothing() -> None:
    """Blocks of several replicas in any order give the same figures to the last digit."""
    blocks = [
        (replica, _columns([replica + 1], [tick], [tick * 7 % 90], first=tick))
        for replica in range(5)
        for tick in range(1, 9)
    ]
    figures = []
    for order in (blocks, blocks[::-1], blocks[::2] + blocks[1::2]):
        tally = _tally(5)
        for replica, columns in order:
            tally.add(replica, columns)
        figures.append(tally.figures())
    assert figures[0] == figures[1] == figures[2]


def test_without_a_series_nothing_is_known() -> None:
    """No ticks give no figures."""
    assert _tally(2).figures() == [Imbalance(), Imbalance()]
