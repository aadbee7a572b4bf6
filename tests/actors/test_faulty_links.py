"""Frames that get lost, come twice, late, in another order or damaged: nothing differs, or the actor is named."""

from pathlib import Path
from random import Random

import pytest

from actors.network import LocalNetwork
from actors.transport import BrokenLinkError, WaitLimits
from cluster_sim.config.schema.study import Study
from tests.actors.faulty_network import FAULTS, FaultyNetwork
from tests.actors.matrix import inline, small_study
from tests.actors.threaded_run import ThreadedRun
from tests.evidence import Evidence

SEEDS = 10
CONNECTIONS = 8
"""Two groups to the router and to their first stages, and two stages of each."""


@pytest.fixture(scope="module")
def study() -> Study:
    """A run of two stages and many windows."""
    return small_study("least_loaded", pipeline_parallel=2)


@pytest.fixture(scope="module")
def expected(study: Study) -> Evidence:
    """What it leaves."""
    return inline(study)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_faulty_link_is_repaired_or_named(seed: int, study: Study, expected: Evidence, tmp_path: Path) -> None:
    """A frame that comes twice or late changes nothing; any other fault does not either, or ends the run as a broken
    link that names the actor and its window or stage, and never as another result.
    """
    random = Random(seed)
    fault = FAULTS[seed % len(FAULTS)]
    connection = random.randrange(CONNECTIONS)
    network = FaultyNetwork(LocalNetwork(str(tmp_path)), fault, random, random.randrange(1, 9), connection)
    threads = ThreadedRun(network, limits=WaitLimits(20, 3, 6))
    try:
        evidence = threads.evidence(study, stages="actors", actors=2)
    except BrokenLinkError as error:
        found = str(error)
    else:
        assert evidence == expected
        assert fault not in ("lost", "damaged") or not network.done
        return
    assert fault not in ("twice", "late")
    assert "actor " in found
    assert "window" in found or "stage" in found
