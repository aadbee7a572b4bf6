"""Faults of a study by hand: the timelines that they make, and what is refused."""

from itertools import islice, pairwise
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from cluster_sim.errors import InputError
from cluster_sim.routing.faults.fault_effects import FleetView, PoolView
from cluster_sim.routing.faults.fault_interface import FAULT_KINDS
from cluster_sim.routing.faults.fault_plan import FaultPlan, plan_faults
from cluster_sim.serving.lives.intervals import FOREVER_NS
from cluster_sim.serving.lives.timeline import NO_FAULTS, Crash, Timeline
from tests.parts import every_name

S = 1_000_000_000
FLEET = FleetView((PoolView("main", range(4), "prefill"), PoolView("other", range(4, 6), "decode")))
FAULTS: TypeAdapter[Any] = TypeAdapter(tuple[FAULT_KINDS.annotation(), ...])


def plan_of(*faults: dict[str, Any]) -> FaultPlan:
    return plan_faults(FAULTS.validate_python(faults), FLEET)


def crashes(timeline: Timeline, most: int = 50) -> list[tuple[int, int]]:
    return [interval[:2] for interval in islice(timeline.crashes.source, most)]


def test_a_crash_at_given_times() -> None:
    """Replica 1 is down from 60 to 105 s and from 200 to 245 s; nobody else is."""
    plan = plan_of({"kind": "crash", "replicas": [1], "at_s": [200, 60], "duration_s": 45})
    timeline = plan.timeline_of(1, "main")
    assert crashes(timeline) == [(60 * S, 105 * S), (200 * S, 245 * S)]
    assert timeline.crash_from(61 * S) == Crash(200 * S, 245 * S)
    assert plan.timeline_of(0, "main") is NO_FAULTS


def test_usual_durations() -> None:
    """60 s for a crash, 20 minutes for a GPU reset, for ever if permanent."""
    plan = plan_of(
        {"kind": "crash", "replicas": [0], "at_s": 1},
        {"kind": "gpu_reset", "replicas": [1], "at_s": 1},
        {"kind": "crash", "replicas": [2], "at_s": 1, "is_permanent": True},
    )
    ends = [crashes(plan.timeline_of(replica, "main"))[0][1] for replica in range(3)]
    assert ends == [61 * S, 1201 * S, FOREVER_NS]


def test_faults_of_one_replica_add_up() -> None:
    """A hang, a slow time, a lost link and a crash of one replica stand side by side."""
    at = {"replicas": [0], "at_s": 10, "duration_s": 5}
    kinds = ({"kind": "hang"}, {"kind": "slow", "factor": 3}, {"kind": "link_lost"}, {"kind": "crash"})
    timeline = plan_of(*(kind | at for kind in kinds)).timeline_of(0, "main")
    assert timeline.is_hung(12 * S)
    assert timeline.passes_ns(12 * S) == 15 * S
    assert timeline.death_at(12 * S) == Crash(10 * S, 15 * S)
    slow = timeline.slowdowns.holding(12 * S)
    assert slow is not None
    assert slow.factor == 3


def test_drawn_faults_are_each_replicas_own_and_keyed_by_their_seed() -> None:
    """Replicas of a pool draw different times, the same ones each time, others with another seed; means come out."""
    fault = {"kind": "crash", "pool": "main", "mtbf_s": 1000, "mttr_s": 100}
    plan = plan_of(fault)
    first, second = (crashes(plan.timeline_of(replica, "main"), 2000) for replica in (0, 1))
    assert first != second
    assert crashes(plan_of(fault).timeline_of(0, "main"), 2000) == first
    assert crashes(plan_of(fault | {"seed": 1}).timeline_of(0, "main"), 5) != first[:5]
    down_s = sum(end - start for start, end in first) / S / len(first)
    assert down_s == pytest.approx(100, rel=0.1)
    assert first[-1][1] / S / len(first) == pytest.approx(1100, rel=0.1)
    assert plan.timeline_of(4, "other") is NO_FAULTS


def test_fixed_distribution() -> None:
    """Up for 1,000 s and down for 100 s, in turn."""
    plan = plan_of({"kind": "crash", "pool": "other", "mtbf_s": 1000, "mttr_s": 100, "distribution": "fixed"})
    assert crashes(plan.timeline_of(4, "other"), 2) == [(1000 * S, 1100 * S), (2100 * S, 2200 * S)]


def test_replicas_that_join_a_pool_have_its_faults_from_their_birth_on() -> None:
    """A replica that joins at 500 s crashes 1,000 s later; one that joins another pool does not."""
    fault = {"kind": "crash", "pool": "main", "mtbf_s": 1000, "mttr_s": 100, "distribution": "fixed"}
    plan = plan_of(fault, {"kind": "hang", "replicas": [1], "at_s": 5})
    joined = plan.timeline_of(6, "main", joins=True).born_at(500 * S)
    assert crashes(joined, 1) == [(1500 * S, 1600 * S)]
    assert plan.timeline_of(6, "other", joins=True) is NO_FAULTS


def test_a_node_takes_its_replicas_with_it() -> None:
    """Two replicas a node: node 1 of the pool are replicas 2 and 3; drawn times are equal within a node only."""
    given = plan_of({"kind": "node_loss", "pool": "main", "replicas_per_node": 2, "node": 1, "at_s": 7})
    assert [bool(given.timeline_of(replica, "main")) for replica in range(4)] == [False, False, True, True]
    drawn = plan_of({"kind": "node_loss", "pool": "main", "replicas_per_node": 2, "mtbf_s": 100})
    times = [crashes(drawn.timeline_of(replica, "main"), 5) for replica in range(4)]
    assert times[0] == times[1] != times[2] == times[3]
    listed = plan_of({"kind": "node_loss", "replicas": [0, 4], "mtbf_s": 100})
    assert crashes(listed.timeline_of(0, "main"), 5) == crashes(listed.timeline_of(4, "other"), 5)


def test_one_side_of_a_pair() -> None:
    """The side that is named crashes, the other does not."""
    plan = plan_of({"kind": "pair_failure", "prefill": 1, "decode": 4, "side": "decode", "at_s": 3})
    assert plan.timeline_of(1, "main") is NO_FAULTS
    assert crashes(plan.timeline_of(4, "other")) == [(3 * S, 63 * S)]


def test_router_restarts_and_links_between_replicas() -> None:
    """Restarts that overlap are one; a link keeps its share of the bandwidth for the time."""
    plan = plan_of(
        {"kind": "router_restart", "at_s": [10, 13], "duration_s": 4},
        {"kind": "link_degraded", "pool": "other", "at_s": 5, "bandwidth_ratio": 0.25},
    )
    assert [interval[:2] for interval in plan.router_restarts] == [(10 * S, 17 * S)]
    (fault,) = plan.transfer_faults
    assert fault.bandwidth_ratio == 0.25
    assert fault.replicas == {4, 5}
    assert [interval[:2] for interval in plan.transfer_times(fault, 4)] == [(5 * S, 605 * S)]
    drawn = plan_of({"kind": "router_restart", "mtbf_s": 100})
    times = list(islice(drawn.router_restarts, 5))
    assert times == list(islice(drawn.router_restarts, 5))
    assert all(first.end_ns < second.start_ns for first, second in pairwise(times))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"kind": "crash", "replicas": [0, 6], "at_s": 1}, "faults.0.replicas.1: there is no replica 6; the study's 6"),
        ({"kind": "crash", "replicas": [9], "at_s": 1}, "faults.0.replicas.0: there is no replica 9"),
        ({"kind": "hang", "pool": "mian", "at_s": 1}, "faults.0.pool: no pool is named 'mian'; did you mean 'main'"),
        ({"kind": "pair_failure", "prefill": 9, "decode": 4, "at_s": 1}, "faults.0.prefill: there is no replica 9"),
        (
            {"kind": "pair_failure", "prefill": 4, "decode": 4, "at_s": 1},
            "faults.0.prefill: replica 4 is of a pool with role decode",
        ),
        (
            {"kind": "node_loss", "pool": "main", "replicas_per_node": 2, "node": 2, "at_s": 1},
            "faults.0.node: pool 'main' has 2 nodes",
        ),
    ],
)
def test_targets_that_do_not_exist_are_refused(fault: dict[str, Any], message: str) -> None:
    """The message begins with the path of the key."""
    with pytest.raises(InputError) as caught:
        plan_of(fault)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"kind": "crash", "replicas": [0]}, "needs at_s, or mtbf_s"),
        ({"kind": "crash", "replicas": [0], "at_s": 1, "mtbf_s": 1}, "and not both"),
        ({"kind": "crash", "at_s": 1}, "needs pool or replicas"),
        ({"kind": "crash", "replicas": [0], "at_s": 1, "mttr_s": 1}, "mttr_s has no meaning without mtbf_s"),
        ({"kind": "crash", "pool": "main", "mtbf_s": 1, "duration_s": 1}, "duration_s has no meaning with mtbf_s"),
        ({"kind": "slow", "replicas": [0], "at_s": 1, "factor": 1}, "greater than 1"),
        ({"kind": "node_loss", "pool": "main", "at_s": 1}, "replicas_per_node"),
        ({"kind": "node_loss", "pool": "main", "at_s": 1, "replicas_per_node": 2}, "needs node with at_s"),
        ({"kind": "crash", "replicas": [0], "at_s": 1, "is_permanent": True, "duration_s": 1}, "permanent"),
    ],
)
def test_options_that_contradict_are_refused(fault: dict[str, Any], message: str) -> None:
    """Times are given or drawn, targets are a pool or numbers."""
    with pytest.raises(ValidationError, match=message):
        FAULTS.validate_python([fault])


@every_name(FAULT_KINDS)
def test_every_example_has_effects(name: str) -> None:
    """The example of every kind befalls something of a small fleet."""
    fleet = FleetView((PoolView("main", range(2)),))
    block = {"kind": name, **FAULT_KINDS.get(name).options.example}
    assert plan_faults(FAULTS.validate_python([block]), fleet)
