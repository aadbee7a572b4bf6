"""Arithmetic of a rolling upgrade, and the shares of a traffic split."""

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster_sim.errors import InputError
from cluster_sim.routing.scaling.rolling_upgrade import RollingUpgrade
from cluster_sim.routing.scaling.traffic_split import TrafficSplit, check_weights
from cluster_sim.workload.request import Request


def test_four_replicas_are_replaced_one_and_two_at_a_time() -> None:
    """With 25 % each, four allow five replicas and need three that serve.

    At first one starts and one old goes; then 4 exist, so a second starts.  Each new one that is ready lets an old one
    go and, while there are fewer than four, another start.
    """
    upgrade = RollingUpgrade(4, 25, 25)
    assert upgrade.step(4, 4, 0, 0) == (1, 1)
    assert upgrade.step(3, 3, 1, 0) == (1, 0)
    assert upgrade.step(3, 3, 2, 0) == (0, 0)
    assert upgrade.step(3, 3, 2, 1) == (0, 1)
    assert upgrade.step(2, 2, 2, 1) == (1, 0)
    assert upgrade.step(2, 2, 3, 3) == (0, 2)
    assert upgrade.step(0, 0, 3, 3) == (1, 0)
    assert upgrade.step(0, 0, 4, 4) == (0, 0)


def test_one_replica_gets_its_successor_first() -> None:
    """25 % of one is a surge of one and none unavailable; without a surge one goes first, as nothing could change."""
    assert RollingUpgrade(1, 25, 25).step(1, 1, 0, 0) == (1, 0)
    assert RollingUpgrade(1, 25, 25).step(1, 1, 1, 1) == (0, 1)
    assert RollingUpgrade(1, 0, 0).step(1, 1, 0, 0) == (0, 1)


@given(st.integers(1, 40), st.integers(0, 100), st.integers(0, 100), st.data())
def test_every_upgrade_keeps_its_limits_and_ends(
    replicas: int, surge: int, unavailable: int, data: st.DataObject
) -> None:
    """Never more exist and never fewer serve than allowed, whatever gets ready when; in the end all are new."""
    upgrade = RollingUpgrade(replicas, surge, unavailable)
    most = replicas + -(-replicas * surge // 100)
    least = replicas - (replicas * unavailable // 100 if surge or replicas * unavailable >= 100 else 1)
    old, new, ready = replicas, 0, 0
    for _ in range(6 * replicas + 6):
        while (step := upgrade.step(old, old, new, ready)) != (0, 0):
            old, new = old - step.drain, new + step.start
            assert old + new <= most
            assert old + ready >= least
        if ready < new:
            ready += data.draw(st.integers(1, new - ready))
    assert (old, new, ready) == (0, replicas, replicas)


@dataclass
class Member:
    """A replica of a pool."""

    pool: str


MEMBERS = [Member("stable"), Member("stable"), Member("canary")]


def test_requests_are_split_by_weight() -> None:
    """One in ten goes to the canary, and the same request always to the same pool."""
    split = TrafficSplit({"stable": 90, "canary": 10}, seed=1)
    drawn = [tuple(split.narrowed(Request(number, 0, 1, 1), [0, 1, 2], MEMBERS)) for number in range(5000)]
    counts = Counter(drawn)
    assert set(counts) == {(0, 1), (2,)}
    assert counts[2,] == pytest.approx(500, abs=70)
    assert drawn[:100] == [tuple(split.narrowed(Request(number, 0, 1, 1), [0, 1, 2], MEMBERS)) for number in range(100)]


def test_a_pool_without_eligible_replicas_gets_nothing() -> None:
    """The weights of the pools that are there count; with none of them every eligible replica is kept."""
    split = TrafficSplit({"stable": 0, "canary": 10}, seed=1)
    assert split.narrowed(Request(1, 0, 1, 1), [0, 1, 2], MEMBERS) == [2]
    assert split.narrowed(Request(1, 0, 1, 1), [0, 1], MEMBERS) == [0, 1]


def test_weights_are_checked() -> None:
    """Unknown pools and weights that sum to zero for a model are refused with the key."""
    with pytest.raises(InputError, match=r"router.split: there is no pool 'other'; known: stable, canary"):
        check_weights("router.split", {"other": 1}, {"stable": "m", "canary": "m"})
    with pytest.raises(InputError, match=r"router.split: the weights of the pools of m sum to 0"):
        check_weights("router.split", {"stable": 0, "canary": 0}, {"stable": "m", "canary": "m"})
