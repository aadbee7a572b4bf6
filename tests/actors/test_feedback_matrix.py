"""Workloads that react to how requests fare, under every executor and placement: one digest each."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from actors.connection import ray_cluster
from cluster_sim.config.schema.study import Study
from tests.actors.matrix import in_memory, inline, on_ray, study_of

LENGTHS = {
    "prompt": {"kind": "uniform", "min": 10, "max": 300},
    "output": {"kind": "uniform", "min": 2, "max": 40},
}
POISSON = {"kind": "poisson", "request_rate": 20.0}
THINK = {"kind": "exponential", "mean": 0.4}


def fixed(value: float) -> dict[str, Any]:
    return {"kind": "fixed", "value": value}


WORKLOADS: dict[str, dict[str, Any]] = {
    "closed loop": {
        "kind": "closed_loop", "users": 12, "count": 150, "lengths": LENGTHS, "think_time_s": THINK,
    },
    "sessions": {
        "kind": "sessions", "arrivals": POISSON, "count": 40, "lengths": LENGTHS, "think_time_s": THINK,
        "turns": {"kind": "geometric", "continue_probability": 0.7, "max": 6},
        "traits": {"prefix": {"levels": [{"count": 2, "tokens": 100}]}},
    },
    "agents": {
        "kind": "agentic", "arrivals": POISSON, "count": 25,
        "steps": [
            {"name": "plan", "lengths": LENGTHS},
            {"name": "tool", "after": ["plan"], "wait_s": THINK, "lengths": LENGTHS,
             "repeat": {"kind": "uniform", "min": 1, "max": 4}},
            {"name": "answer", "after": ["tool"], "lengths": LENGTHS},
        ],
    },
    "limited client": {
        "kind": "synthetic", "arrivals": {"kind": "poisson", "request_rate": 200.0}, "count": 120, "lengths": LENGTHS,
        "max_concurrency": 10,
    },
    "mixed clients": {
        "kind": "clients", "arrivals": POISSON, "count": 50,
        "profiles": [
            {"name": "chat", "share": 2.0, "lengths": LENGTHS,
             "conversation": {"turns": fixed(3), "think_time_s": THINK, "probability": 0.5}},
            {"name": "batch", "lengths": LENGTHS, "traits": {"priority": 1}},
        ],
    },
    "mix": {
        "kind": "mix",
        "parts": [
            {"kind": "synthetic", "arrivals": POISSON, "count": 60, "lengths": LENGTHS},
            {"kind": "closed_loop", "users": 5, "count": 50, "lengths": LENGTHS, "think_time_s": THINK},
        ],
    },
}  # fmt: skip


def study(name: str, policy: str = "least_outstanding") -> Study:
    engine = {"enable_prefix_caching": True, "max_num_seqs": 8}
    pool = {"name": "main", "model": "llama-3-8b", "device": "h100-sxm", "replicas": 4, "engine": engine}
    return study_of(
        name="feedback",
        seed=5,
        workload=WORKLOADS[name],
        fleet={"pools": [pool]},
        router={"policy": policy},
        run={"series_interval_s": 0.5},
    )


@pytest.mark.parametrize("name", WORKLOADS)
def test_placements_and_delays_change_nothing(name: str) -> None:
    """Groups of every size, called directly and behind frames with random delays, give inline's rows and books."""
    one = study(name)
    reference = inline(one)
    for groups in ([[0, 1, 2, 3]], [[0], [1], [2], [3]], [[3, 0], [2, 1]]):
        assert in_memory(one, groups, None) == reference, groups
        delays = random.Random(len(groups))
        assert in_memory(one, groups, delays.randrange) == reference, groups


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """One local cluster for the tests of this module that need one."""
    with ray_cluster(None):
        yield


@pytest.mark.ray
@pytest.mark.acceptance
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("policy", ["least_outstanding", "least_loaded"])
@pytest.mark.parametrize("name", WORKLOADS)
def test_every_placement_on_ray_equals_inline(name: str, policy: str) -> None:
    """One replica an actor, two and three actors, and a shuffled placement give inline's rows and books."""
    one = study(name, policy)
    reference = inline(one)
    placements: list[dict[str, Any]] = [
        {"replicas_per_actor": 1},
        {"actors": 2},
        {"actors": 3},
        {"actors": 2, "placement_seed": 11},
    ]
    for placement in placements:
        assert on_ray(one, **placement) == reference, placement
