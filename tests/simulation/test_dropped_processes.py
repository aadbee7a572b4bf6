"""Processes that are dropped at window edges and made again from snapshots: every part of the model, whole fleets."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.registry import Registry
from cluster_sim.routing.faults.fault_interface import FAULT_KINDS
from cluster_sim.routing.flow_control.detector_interface import DETECTORS
from cluster_sim.routing.flow_control.fairness_interface import FAIRNESS
from cluster_sim.routing.flow_control.ordering_interface import ORDERINGS
from cluster_sim.routing.flow_control.shedder_interface import SHEDDERS
from cluster_sim.routing.policy_interface import ROUTING_POLICIES
from cluster_sim.routing.scaling.scaler_interface import SCALERS
from cluster_sim.serving.queue_orders.base import QUEUE_ORDERS
from cluster_sim.serving.schedulers.engine_options import ENGINES
from cluster_sim.simulation.plan import make_plan
from cluster_sim.simulation.simulation import Simulation
from cluster_sim.workload.kind_interface import WORKLOAD_KINDS
from tests.fleet.drawn_fleets import draw_study
from tests.parts import example_options
from tests.resumed import assert_survives_drops

Block = dict[str, Any]

POOL: Block = {"name": "main", "model": "llama-3-8b", "device": "h100-sxm", "replicas": 2}
STUDY: Block = {
    "workload": {
        "kind": "synthetic",
        "count": 24,
        "arrivals": {"kind": "poisson", "request_rate": 40},
        "lengths": {
            "prompt": {"kind": "uniform", "min": 50, "max": 700},
            "output": {"kind": "uniform", "min": 1, "max": 40},
        },
        "traits": {"prefix": {"levels": [{"count": 2, "tokens": 64}]}},
    },
    "fleet": {"pools": [POOL]},
    "router": {"policy": "least_outstanding", "client_timeout_s": 60},
    "predictor": {"kind": "roofline"},
    "run": {"series_interval_s": 0.2},
}
SLOW: Block = {"process_s": 0.1, "compile_s": 0, "warmup_s": 0, "weights_gb_per_s": 1000}


def engine(name: str) -> Block:
    """Return a fleet of one engine."""
    return {"fleet": {"pools": [POOL | {"engine": {"kind": name}}]}}


def queue_order(name: str) -> Block:
    """Return a fleet whose waiting queues have an order, in an engine that has it."""
    for kind in ENGINES.names():
        blocks = {"fleet": {"pools": [POOL | {"engine": {"kind": kind, "policy": name}}]}}
        try:
            make_plan(Study.model_validate(STUDY | blocks))
        except (ValueError, InputError):
            continue
        return blocks
    pytest.skip("no engine has it")


def policy(name: str) -> Block:
    """Return a router with a policy."""
    own = {"weights": {"main": 1.0}} if name == "weighted" else {}
    return {"router": {"policy": name, "client_timeout_s": 60} | own}


def fault(name: str) -> Block:
    """Return a fault within the run, with retries."""
    options = deepcopy(dict(FAULT_KINDS.get(name).options.example)) | {"kind": name}
    if "at_s" in options:
        options["at_s"] = 0.2
    if "duration_s" in options:
        options["duration_s"] = 0.1
    if "mtbf_s" in options:
        options |= {"mtbf_s": 0.3, "mttr_s": 0.1}
    pools = [POOL]
    if name in ("pair_failure", "link_degraded"):
        roles = ("prefill", "decode")
        pools = [POOL | {"name": role, "role": role, "replicas": 1, "engine": {"kind": "vllm_v1"}} for role in roles]
        options |= {"pool": "decode"} if "pool" in options else {}
    health = {"period_s": 0.1, "timeout_s": 0.05}
    router = {"policy": "least_outstanding", "retries": {"max_retries": 3}, "health": health}
    return {"fleet": {"pools": pools}, "faults": [options], "router": router}


def scaler(name: str) -> Block:
    """Return a scaler that acts within the run."""
    options = deepcopy(dict(SCALERS.get(name).options.example)) | {"kind": name, "min_replicas": 1, "max_replicas": 3}
    return {"fleet": {"pools": [POOL | {"cold_start": SLOW}]}, "autoscaler": options}


def flow(key: str) -> Callable[[str], Block]:
    """Return what makes a flow control with one of its parts."""

    def blocks(name: str) -> Block:
        admission: Block = {"detector": {"kind": "concurrency", "max_requests": 4}, "flow_by": "session"}
        if key == "detector" and name == "utilization":
            admission["detector"] = {"kind": name, "queue_depth_threshold": 1, "period_ms": 50, "latency_ms": 1}
        elif key == "detector":
            admission["detector"] = {"kind": name, "max_requests": 4}
        else:
            admission[key] = [{"kind": name}] if key == "shedders" else {"kind": name}
        return {"admission": admission}

    return blocks


AXES: dict[str, tuple[Registry[Any], Callable[[str], Block]]] = {
    "policy": (ROUTING_POLICIES, policy),
    "engine": (ENGINES, engine),
    "queue order": (QUEUE_ORDERS, queue_order),
    "fault": (FAULT_KINDS, fault),
    "scaler": (SCALERS, scaler),
    "detector": (DETECTORS, flow("detector")),
    "fairness": (FAIRNESS, flow("fairness")),
    "ordering": (ORDERINGS, flow("ordering")),
    "shedder": (SHEDDERS, flow("shedders")),
}
PARTS = [(axis, name) for axis, (registry, _) in AXES.items() for name in registry.names()]


def builder(study: Study) -> Callable[[], Simulation]:
    """Return what builds the study's simulation anew."""
    return lambda: replace(make_plan(study).simulation(), keeps_rows=True)


@pytest.mark.parametrize(("axis", "name"), PARTS)
def test_every_part_survives(axis: str, name: str) -> None:
    """A part goes on as if nothing had been dropped."""
    study = Study.model_validate(STUDY | AXES[axis][1](name))
    assert assert_survives_drops(builder(study), Random(name).randrange, one_in=2, most=4)


@pytest.mark.parametrize("name", WORKLOAD_KINDS.names())
def test_every_kind_of_workload_survives(name: str, tmp_path: Path) -> None:
    """Sources read on where they were, and know what the ends of requests have changed."""
    study = Study.model_validate(STUDY | {"run": {"end_s": 60}})
    study = study.model_copy(update={"workload": example_options(WORKLOAD_KINDS, name, tmp_path)})
    assert_survives_drops(builder(study), Random(name).randrange, one_in=2, most=4)


@pytest.mark.parametrize("seed", [*range(1000, 1005), 50034])
def test_drawn_fleets_survive(seed: int) -> None:
    """Whole services with faults, scalers, queues and hand-overs, dropped at random edges, leave the same rows.

    In the last one a replica joins with a message that no window has carried yet.
    """
    try:
        study = Study.model_validate(draw_study(Random(seed)))
        make_plan(study)
    except (ValueError, InputError) as error:
        pytest.skip(f"the draw is no study: {error}")
    assert_survives_drops(builder(study), Random(seed).randrange)
