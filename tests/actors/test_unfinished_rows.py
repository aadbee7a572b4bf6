"""Rows of requests that did not finish, on actors: as plain objects of this process, and on Ray."""

import pytest

from actors.group_actor import GroupActor
from actors.network import open_network
from actors.ray_executor import RayExecutor
from actors.router_actor import RouterActor
from actors.serving_run import ServingRun
from actors.transport import LinkSettings, WaitLimits
from cluster_sim.config.schema.study import Study
from cluster_sim.simulation.executor import RunOutputs
from cluster_sim.simulation.monitor_settings import MonitorSettings
from cluster_sim.simulation.plan import make_plan
from tests.actors.matrix import inline


def study_of(policy: str, end_s: float | None, stages: int) -> Study:
    """Three replicas with more load than they serve, whose clients give up after 1.5 s."""
    return Study.model_validate(
        {
            "seed": 5,
            "workload": {
                "kind": "synthetic",
                "count": 150,
                "arrivals": {"kind": "poisson", "request_rate": 40},
                "lengths": {
                    "prompt": {"kind": "uniform", "min": 50, "max": 900},
                    "output": {"kind": "uniform", "min": 1, "max": 200},
                },
            },
            "fleet": {
                "pools": [
                    {
                        "model": "llama-3-8b",
                        "device": "h100-sxm",
                        "replicas": 3,
                        "pipeline_parallel": stages,
                        "engine": {"kind": "vllm_v1", "max_num_seqs": 8},
                    }
                ]
            },
            "router": {"policy": policy, "client_timeout_s": 1.5},
            "predictor": {"kind": "roofline"},
            "run": {"end_s": end_s, "actors": 2},
        }
    )


def digest_on_actors(study: Study) -> str:
    """Run with the router's and two groups' actors as plain objects of this process."""
    spec = ServingRun(make_plan(study).simulation(), None, MonitorSettings())
    groups = [[0, 2], [1]]
    with open_network(None, (20000, 29999)) as network:
        settings = LinkSettings("run", network, limits=WaitLimits(5, 5, 5))
        router, actors = RouterActor(), [GroupActor(index) for index in range(len(groups))]
        endpoint = router.build(spec, groups, settings)
        for actor, members in zip(actors, groups, strict=True):
            actor.build(spec, members, settings, 0)
            actor.start(endpoint, "")
        result = router.run()
        assert [actor.watch() for actor in actors] == ["", ""]
    return str(result.digest)


@pytest.mark.parametrize("policy", ["round_robin", "least_outstanding", "least_loaded"])
@pytest.mark.parametrize(("end_s", "stages"), [(None, 1), (2.5, 1), (2.5, 2)])
def test_digests_are_equal(policy: str, end_s: float | None, stages: int) -> None:
    """How far cancelled and cut-off requests had come is the same wherever the replicas are."""
    study = study_of(policy, end_s, stages)
    evidence = inline(study)
    assert digest_on_actors(study) == evidence.digest


@pytest.mark.ray
def test_digests_are_equal_on_ray() -> None:
    """The same with processes of their own."""
    study = study_of("least_outstanding", 2.5, 1)
    simulation = make_plan(study).simulation()
    assert RayExecutor(study.run).run(simulation, RunOutputs()).hub.digest == inline(study).digest
