"""End of a run: requests that nothing can end any more are never recorded as if the run had ended by itself."""

import re
from unittest import mock

import pytest

from actors.group_actor import GroupActor
from actors.network import open_network
from actors.router_actor import RouterActor
from actors.serving_run import ServingRun
from actors.transport import LinkSettings, WaitLimits
from cluster_sim.config.schema.study import Study
from cluster_sim.errors import UnfinishedError
from cluster_sim.serving.replica import Replica
from cluster_sim.simulation.monitor_settings import MonitorSettings
from cluster_sim.simulation.plan import make_plan
from tests.actors.matrix import inline, small_study

MESSAGE = r"^150 requests never finish, the first \[0, 1, 2, 3, 4, 5, 6, 7, 8, 9\]: nothing is left that could happen"


def on_actors(study: Study) -> None:
    """Run with the router's and two groups' actors as plain objects of this process."""
    spec = ServingRun(make_plan(study).simulation(), None, MonitorSettings())
    groups = [[0, 1], [2, 3]]
    with open_network(None, (20000, 29999)) as network:
        settings = LinkSettings("run", network, limits=WaitLimits(5, 5, 5))
        router, actors = RouterActor(), [GroupActor(index) for index in range(len(groups))]
        endpoint = router.build(spec, groups, settings)
        for actor, members in zip(actors, groups, strict=True):
            actor.build(spec, members, settings, 0)
            actor.start(endpoint, "")
        try:
            router.run()
        finally:
            assert [actor.watch() for actor in actors] == ["", ""]


@pytest.mark.parametrize("run", [inline, on_actors])
def test_requests_that_never_end_are_reported(run: object) -> None:
    """Replicas that lose every message leave all requests on their way: an error, not rows that say unfinished."""
    assert callable(run)
    with (
        mock.patch.object(Replica, "_take", return_value=None),
        pytest.raises(UnfinishedError, match=re.compile(MESSAGE)),
    ):
        run(small_study("round_robin"))


def test_a_run_with_an_end_leaves_requests_unfinished() -> None:
    """Where the study says when it ends, requests on their way then are rows like any others."""
    study = small_study("round_robin")
    ending = study.model_copy(update={"run": study.run.model_copy(update={"end_s": 1.0})})
    assert sum(replica.entered - replica.left for replica in inline(ending).replicas) > 0
