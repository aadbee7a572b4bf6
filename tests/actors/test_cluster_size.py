"""Tests of waiting for a cluster's CPUs."""

import pytest

from actors.cluster_size import await_cpus
from cluster_sim.errors import UnfinishedError


def test_actors_wait_for_the_workers() -> None:
    """Nodes that join while somebody waits are counted; without a wish those that are there will do."""
    nodes = [0.0]
    waits: list[float] = []

    def join(wait_s: float) -> None:
        waits.append(wait_s)
        nodes.append(2.0)

    assert await_cpus(4, cpus=lambda: list(nodes), sleep=join) == [0.0, 2.0, 2.0]
    assert len(waits) == 2
    assert await_cpus(None, cpus=lambda: [0.0, 2.0]) == [0.0, 2.0]


def test_too_few_cpus_are_refused() -> None:
    """Workers that never come, and a cluster that offers nothing, end the run with a message that names the option."""
    with pytest.raises(UnfinishedError, match=r"offers 2 CPUs on 1 node .* --min-cpus asks for 4"):
        await_cpus(4, limit_s=0.0, cpus=lambda: [2.0])
    with pytest.raises(UnfinishedError, match=r"2 nodes offer no CPU .* --min-cpus N"):
        await_cpus(None, cpus=lambda: [0.0, 0.0])
