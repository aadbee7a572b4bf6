"""Fleets that change on actors: replicas that join are built where their groups are; stages fused and as actors."""

from random import Random

import pytest

from actors.network import Network
from tests.actors.threaded_run import ThreadedRun
from tests.engine.small_fleet import draw_changing_fleet, run_inline, simulation_of


@pytest.mark.parametrize("stages", ["fused", "actors"])
@pytest.mark.parametrize("seed", [5, 21, 75, 101])
def test_changes_are_the_same_on_actors(network: Network, seed: int, stages: str) -> None:
    """Rows, counters and series of fleets with joins, leaves and crashes are those of one process."""
    small = draw_changing_fleet(Random(seed).randrange)
    settings = small.study().run.model_copy(update={"actors": 2, "stages": stages})
    assert ThreadedRun(network).evidence_with(settings, simulation_of(small)) == run_inline(small)[0]
