"""Withdrawals and lost links: what is withdrawn has been delivered before."""

from dataclasses import replace
from random import Random

import pytest

from cluster_sim.config.schema.study import Study
from cluster_sim.recording.statuses import FINISHED, STATUSES
from cluster_sim.routing.faults.fault_component import _delay_ns
from cluster_sim.serving.lives.timeline import Timeline
from cluster_sim.simulation.inline import InlineExecutor
from cluster_sim.simulation.plan import make_plan
from cluster_sim.simulation.simulation import Simulation
from tests.engine.in_memory import InMemoryExecutor
from tests.evidence import evidence_of


@pytest.mark.parametrize(
    ("sent_ns", "attempt", "is_dispatch", "delay_ns"),
    [
        (808, 0, True, 92),
        (808, 2, True, 94),
        (899, 0, False, 2),
        (900, 0, True, 0),
        (900, 0, False, 1),
        (901, 0, False, 0),
        (901, 2, False, 2),
        (903, 2, False, 0),
        (500, 0, False, 401),
        (499, 0, False, 0),
        (0, 0, False, 0),
    ],
)
def test_what_waited_for_the_link_comes_in_order(sent_ns: int, attempt: int, is_dispatch: bool, delay_ns: int) -> None:
    """The link is lost from 500 to 900 ns: attempt k sets out at 900 + k, its cancellation at 901 + k or later,
    also where it is sent when the link is back.
    """
    timeline = Timeline(outages=[(500, 900)])
    assert _delay_ns(timeline, sent_ns, attempt, is_dispatch=is_dispatch) == delay_ns


def simulation(seed: int) -> Simulation:
    """Return a run whose loads are compared at 0.9 s, when the link to replica 0 is back."""
    study = {
        "seed": seed,
        "workload": {
            "kind": "synthetic",
            "count": 40,
            "arrivals": {"kind": "constant", "request_rate": 40},
            "lengths": {"prompt": {"kind": "fixed", "value": 100}, "output": {"kind": "fixed", "value": 20}},
        },
        "fleet": {
            "pools": [
                {
                    "model": "llama-3-8b",
                    "device": "h100-sxm",
                    "replicas": 2,
                    "engine": {"kind": "vllm_v1", "max_num_seqs": 4},
                }
            ],
            "network": {"router_to_replica_ms": 0.1, "replica_to_router_ms": 0.5},
        },
        "router": {
            "policy": "random",
            "migration": {"rebalance": {"period_s": 0.3, "threshold": 2, "max_moves": 1, "victim": "latest"}},
        },
        "faults": [{"kind": "link_lost", "at_s": 0.8, "duration_s": 0.1, "replicas": [0]}],
        "predictor": {"kind": "linear", "alpha_us": 30_000},
    }
    return replace(make_plan(Study.from_dict(study)).simulation(), keeps_rows=True)


@pytest.mark.parametrize("seed", [29, 33, 36, 38])
def test_requests_on_their_way_are_not_withdrawn(seed: int) -> None:
    """A withdrawal that came before its request would drop nothing, and the router would wait for ever."""
    expected = evidence_of(InlineExecutor(), simulation(seed))
    assert expected.column("status") == [STATUSES.index(FINISHED)] * 40
    executor = InMemoryExecutor([[0], [1]], Random(seed).randrange)
    assert evidence_of(executor, simulation(seed)) == expected
