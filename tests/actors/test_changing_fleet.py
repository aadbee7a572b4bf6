"""Fleets that scale, are upgraded and hand requests over, on actors: real frames on real sockets, and Ray."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.connection import ray_cluster
from cluster_sim.config.schema.study import Study
from cluster_sim.routing.handover.connector_interface import CONNECTORS
from tests.actors.matrix import inline, on_ray
from tests.simulation.handover_study import ENGINE_OF, pool, study
from tests.small_run import small_study

SCALED = (
    "fleet.pools.0.cold_start={process_s: 1, compile_s: 0, warmup_s: 0, weights_gb_per_s: 100}",
    "autoscaler={kind: schedule, max_replicas: 12, entries: [{at_s: 1, replicas: 12}, {at_s: 4, replicas: 3}]}",
)
UPGRADED = (
    SCALED[0],
    "run.changes=[{at_s: 1, set: {fleet.pools.0.engine.max_num_seqs: 8}}]",
    "router.split={main: 1}",
)

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """One small local cluster for all tests of this module."""
    with ray_cluster(None, num_cpus=2):
        yield


@pytest.mark.parametrize("overrides", [SCALED, UPGRADED], ids=["scaled", "upgraded"])
@pytest.mark.parametrize("actors", [1, 2])
def test_replicas_that_join_and_leave_on_actors_are_those_of_one_process(
    tmp_path: Path, overrides: tuple[str, ...], actors: int
) -> None:
    """2 -> 12 -> 3 replicas, and an upgrade: rows, counters and series are those of the inline executor."""
    study: Study = small_study(tmp_path, *overrides)
    expected = inline(study)
    assert len(expected.replicas) > 2
    assert on_ray(study, actors=actors) == expected


@pytest.mark.parametrize("connector", CONNECTORS.names())
def test_hand_overs_on_actors_are_those_of_one_process(connector: str) -> None:
    """Prefill and decode replicas thrown into two groups: rows, counters and series of every connector."""
    engine = ENGINE_OF[connector]
    handed = study(pool("prefill", engine), pool("decode", engine), handover={"connector": connector})
    assert on_ray(handed, actors=2, placement_seed=1) == inline(handed)
