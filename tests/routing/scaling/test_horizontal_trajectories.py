"""Hand-worked trajectories of HPA and KEDA for a step, a ramp and a burst."""

from typing import Any

from cluster_sim.routing.scaling.behavior import Behavior, Direction, StepPolicy
from cluster_sim.routing.scaling.metrics import PoolMetrics, ReplicaFigures, ScalerMetrics
from tests.routing.scaling.drive import NS, build, drive, options_of, scaled_pool, step

HPA: dict[str, Any] = {"kind": "hpa", "metrics": [{"metric": "in_flight", "target": 10}], "max_replicas": 100}
KEDA: dict[str, Any] = {"kind": "keda", "triggers": [{"metric": "in_flight", "target": 10}], "max_replicas": 100}


def test_hpa_step() -> None:
    """4 -> 40 in flight at 60 s: at 75 s ceil(40 / 10) = 4, which +4 allows.  Back at 600 s: the recommendation of 4 at
    600 s leaves the window of 300 s at 900 s, and 1 remains.
    """
    assert drive(step(4, 40, 60, 600), 1000, **HPA) == [(75, 4), (900, 1)]


def test_hpa_ramp() -> None:
    """In flight t / 3: a tick at t sees (t - 8) / 3, so (t - 8) / 30 replicas.  45 s: 1.23 over 1, so 2; 75 s: 2.23
    over 2, so 3; 105 s: 3.23 over 3 is a ratio of 1.08, within the tolerance; 120 s: 3.73, so 4.
    """
    assert drive(lambda second: second / 3, 130, **HPA) == [(45, 2), (75, 3), (120, 4)]


def test_hpa_burst() -> None:
    """200 in flight for 30 s ask for 20: 75 s max(+100 %, +4) of 1 gives 5; 90 s max(10, 9) of 5 gives 10.  The last
    recommendation of 20, of 90 s, leaves the window at 390 s.
    """
    assert drive(step(4, 200, 60, 90), 600, **HPA) == [(75, 5), (90, 10), (390, 1)]


def test_hpa_counts_starting_replicas_as_idle_on_the_way_up() -> None:
    """With cold starts of 60 s, 1 ready replica with 40 running and 3 that start average 10 of 10: nothing more starts;
    without the three the same sample asks for 4.
    """
    options = options_of(kind="hpa", metrics=[{"metric": "running", "target": 10}])
    hot = (ReplicaFigures(running=40),)
    for starting, expected in ((3, 4), (0, 4), (1, 4)):
        scaler = build(options, [scaled_pool(options)])
        metrics = ScalerMetrics(15 * NS, {"main": PoolMetrics(1, starting, samples=hot)})
        assert scaler.decide(metrics, 15 * NS) == {"main": expected}


def test_hpa_leaves_starting_replicas_out_on_the_way_down() -> None:
    """2 ready with 1 of 10 and 2 that start: ceil(0.1 x 2) = 1 is recommended, which the window holds back at 4."""
    options = options_of(
        kind="hpa",
        metrics=[{"metric": "running", "target": 10}],
        scale_down={"stabilization_s": 0, "policies": [{"kind": "replicas", "value": 1}]},
    )
    scaler = build(options, [scaled_pool(options)])
    cold = (ReplicaFigures(running=1),) * 2
    # The initial recommendation of 4 does not count without a window; one replica may go in 15 s.
    assert scaler.decide(ScalerMetrics(15 * NS, {"main": PoolMetrics(2, 2, samples=cold)}), 15 * NS) == {"main": 3}


def test_hpa_takes_the_largest_metric_and_does_not_shrink_on_an_unknown_one() -> None:
    """Of 2 and 5 it takes 5; where the replicas' metric cannot be read, the other may not lower the number."""
    options = options_of(
        kind="hpa", metrics=[{"metric": "running", "target": 10}, {"metric": "in_flight", "target": 10}]
    )
    figures = PoolMetrics(2, samples=(ReplicaFigures(running=10),) * 2, in_flight=50)
    assert build(options, [scaled_pool(options)]).decide(ScalerMetrics(NS, {"main": figures}), NS) == {"main": 5}
    unread = PoolMetrics(2, in_flight=5)
    assert build(options, [scaled_pool(options)]).decide(ScalerMetrics(NS, {"main": unread}), NS) == {"main": 2}


def test_policies_limit_what_changes_in_their_period() -> None:
    """+1 in 60 s: 2 -> 3 at 15 s, nothing at 30 and 60 s, and 4 at 75 s, when the first change has left the period."""
    slow = Direction(stabilization_s=0, policies=(StepPolicy(kind="replicas", value=1, period_s=60),))
    behavior = Behavior(slow, slow)
    behavior.begin(2, 0)
    current, seen = 2, []
    for time_s in (15, 30, 60, 75):
        current = behavior.apply(current, 9, 1, 9, time_s * NS)
        seen.append(current)
    assert seen == [3, 3, 3, 4]


def test_the_strictest_policy_and_none_at_all() -> None:
    """``select: min`` takes the smaller step, ``disabled`` changes nothing."""
    policies = (StepPolicy(kind="replicas", value=1), StepPolicy(kind="percent", value=100))
    for select, expected in (("min", 5), ("max", 8), ("disabled", 4)):
        up = Direction.model_validate({"stabilization_s": 0, "policies": policies, "select": select})
        assert Behavior(up, up).apply(4, 20, 1, 99, NS) == expected


def test_keda_step_from_zero_and_back() -> None:
    """In flight 0, 40 from 50 s, 0 from 100 s.  The poll at 60 s sees an active trigger: 1.  75 s: HPA, ceil(40 / 10) =
    4.  The recommendation of 4 at 90 s leaves the window at 390 s, that of 3 at 105 s leaves it at 405 s.  The last
    active poll was that of 90 s, and the first more than 300 s later is that of 420 s: 0.
    """
    expected = [(60, 1), (75, 4), (390, 3), (405, 1), (420, 0)]
    assert drive(step(0, 40, 50, 100), 600, start=0, min_replicas=0, **KEDA) == expected


def test_keda_ramp_and_burst_with_a_minimum_are_those_of_an_hpa() -> None:
    """Between its minimum of 1 and its maximum KEDA is an HPA with the same metric."""
    assert drive(lambda second: second / 3, 130, **KEDA) == [(45, 2), (75, 3), (120, 4)]
    assert drive(step(4, 200, 60, 90), 600, **KEDA) == [(75, 5), (90, 10), (390, 1)]
