"""Autoscaled fleets: their bounds, the search of the lower one, their price, and their study."""

from pathlib import Path
from typing import Any

import pytest

from cluster_sim.config.schema.plan import PlanBlock
from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.study.planning.autoscaled import BoundsSearch, autoscaled
from cluster_sim.study.planning.evidence import FleetEvidence
from cluster_sim.study.planning.fleet_choice import Bounds, Fleet, fleet_study
from cluster_sim.study.planning.plan_run import PlanOutcome, run_plan
from cluster_sim.study.planning.proposals import Proposal
from cluster_sim.study.planning.ranking import Ranking
from cluster_sim.study.planning.single_run import RunTask, make_run
from cluster_sim.study.replications import Replication
from tests.study.planning.plan_parts import LAYOUT, LIMIT_S, LIMITS, MadeUpPool, replication, small_study
from tests.study.planning.test_planner import make_up

HPA: dict[str, Any] = {"kind": "hpa", "metrics": [{"metric": "in_flight", "target": 16}]}


@pytest.mark.parametrize(
    ("needed", "answer", "runs"),
    [
        (1, 1, [(1, 0), (1, 1), (1, 2)]),
        (4, 4, [(1, 0), (9, 0), (5, 0), (3, 0), (4, 0), (4, 1), (4, 2), (3, 1), (3, 2)]),
        (10, None, [(1, 0), (9, 0)]),
    ],
)
def test_the_lowest_bound_is_found_by_halving(needed: int, answer: int | None, runs: list[tuple[int, int]]) -> None:
    """Of 1 to 9, met from 4 on: 1, 9, then 5, 3 and 4, and the replications of 4 and of 3, which is close."""
    fleets: dict[int, FleetEvidence] = {}

    def evidence_at(least: int) -> FleetEvidence:
        fleet = Fleet(LAYOUT, (10,), Bounds(least, 20))
        return fleets.setdefault(least, FleetEvidence(fleet, LIMITS, 3))

    search = BoundsSearch(evidence_at, 1, 9)
    made = []
    while wanted := search.wanted(100):
        evidence, number = wanted[0]
        evidence.runs[number] = replication(LIMIT_S * (0.9 if evidence.fleet.size >= needed else 1.1), number)
        made.append((evidence.fleet.size, number))
    assert made == runs
    assert (search.answer.fleet.size if search.answer else None) == answer
    assert BoundsSearch(evidence_at, 3, 2).wanted(100) == []


@pytest.mark.parametrize(
    ("bounds", "max_gpus", "expected"),
    [
        ({}, None, Fleet(LAYOUT, (5,), Bounds(1, 10))),
        ({"min_replicas": 0, "max_replicas": 4}, None, Fleet(LAYOUT, (4,), Bounds(0, 4))),
        ({}, 27, Fleet(LAYOUT, (5,), Bounds(1, 6))),
        ({"min_replicas": 2}, 7, None),
    ],
)
def test_bounds_are_those_of_the_study_or_twice_the_fixed_fleet(
    bounds: dict[str, int], max_gpus: int | None, expected: Fleet | None
) -> None:
    """Around five replicas of four GPUs: 1 to 10, the study's own bounds, and never more than max_gpus."""
    options = small_study(autoscaler={**HPA, **bounds}).autoscaler
    assert options is not None
    assert autoscaled(Fleet(LAYOUT, (5,)), options, PlanBlock(max_gpus=max_gpus)) == expected


def test_the_price_is_that_of_the_gpus_that_were_there() -> None:
    """Two runs with 10 and 12 GPUs on average, of which 2 encode: 9 GPUs of four a replica at 12 USD are 27 USD."""
    fleet = Fleet(LAYOUT, (5,), Bounds(2, 10))
    evidence = FleetEvidence(fleet, LIMITS, 2)
    for number, (mean, most) in enumerate(((10.0, 18), (12.0, 22))):
        figures = {"mean_gpus": mean, "most_gpus": most, "encoders.gpus": 2, "throughput.output_tokens_per_s": 900.0}
        evidence.runs[number] = replication(0.05, number, **figures)
    ranking = Ranking("cost", {LAYOUT: Proposal(LAYOUT, None, usd_per_replica_hour=12.0)})
    figures = ranking.figures(evidence)
    assert ranking.price(evidence) == pytest.approx(27.0)
    assert (figures["mean_gpus"], figures["most_gpus"], figures["usd_per_hour"]) == pytest.approx((9.0, 20, 27.0))
    assert figures["output_tokens_per_s_per_gpu"] == pytest.approx(100.0)
    fixed = FleetEvidence(Fleet(LAYOUT, (5,)), LIMITS, 2, dict(evidence.runs))
    assert (ranking.price(fixed), ranking.figures(fixed)["mean_gpus"]) == (60.0, 20)


def scaled_runs(needed: int, mean_gpus: float) -> MadeUpPool:
    """Return runs in which a fixed fleet needs 4.6 replicas of one GPU, an autoscaled one ``needed`` at least."""

    def answer(study: Study, number: int) -> Replication:
        size, scaler = study.fleet.pools[0].replicas, study.autoscaler
        if study.fleet.pools[0].tensor_parallel == 2:
            return make_up(0.03, number)
        if scaler is None:
            return make_up(0.02 * 4.6 / size, number)
        run = make_up(0.019 if scaler.min_replicas >= needed else 0.021, number)
        gpus = max(mean_gpus, scaler.min_replicas)
        run.figures.update({"mean_gpus": gpus, "most_gpus": scaler.max_replicas - 4.0})
        return run

    return MadeUpPool(answer)


def planned(out: Path, needed: int, mean_gpus: float, **changes: Any) -> PlanOutcome:
    base = small_study(autoscaler=HPA, plan__max_num_batched_tokens=[8192], **changes)
    return run_plan(base, out, pool=scaled_runs(needed, mean_gpus))


def test_an_autoscaled_fleet_may_be_the_answer(tmp_path: Path) -> None:
    """Five fixed replicas meet the limits; 2 to 10 do, too, with 3.5 on average, and 1 to 10 do not."""
    plan = planned(tmp_path / "plan", 2, 3.5).document
    answer = plan["answer"]
    assert (answer["min_replicas"], answer["max_replicas"], answer["replicas"]) == (2, 10, [5])
    assert answer["fleet"] == "2 to 10 replicas of 1 x h100-sxm, autoscaled"
    assert (answer["mean_gpus"], answer["most_gpus"]) == (3.5, 6)
    assert answer["usd_per_hour"] == pytest.approx(3.5 * 2.99)
    assert plan["one_replica_fewer"]["min_replicas"] == 1
    assert plan["other_scaling"]["replicas"] == [5]
    assert [one["fleet"]["min_replicas"] for one in plan["other_loads"]] == [2, 2]
    winner = Study.load(tmp_path / "plan/winner.yaml")
    assert winner.autoscaler is not None
    assert (winner.autoscaler.min_replicas, winner.autoscaler.max_replicas) == (2, 10)
    assert winner.fleet.pools[0].replicas == 5


def test_more_load_has_a_start_of_its_own(tmp_path: Path) -> None:
    """Of one to ten replicas that begin with five, 20 % more load needs 4.6 x 1.2 = 5.52 at the start: six fixed
    replicas carry it, and one to twelve that begin with six do.
    """
    starts: list[tuple[int, int | None]] = []

    def answer(study: Study, number: int) -> Replication:
        pool, scaler = study.fleet.pools[0], study.autoscaler
        is_more = bool(getattr(study.workload, "path", "")) or study.workload.arrivals.request_rate > 40  # type: ignore[attr-defined]
        if pool.tensor_parallel == 2:
            return make_up(0.03, number)
        if is_more:
            starts.append((pool.replicas, None if scaler is None else scaler.min_replicas))
        run = make_up(0.02 * (5.52 if is_more else 4.6) / pool.replicas, number)
        run.figures.update({"mean_gpus": 3.5, "most_gpus": 8.0})
        return run

    base = small_study(autoscaler=HPA, plan__max_num_batched_tokens=[8192])
    plan = run_plan(base, tmp_path / "plan", pool=MadeUpPool(answer)).document
    assert (plan["answer"]["min_replicas"], plan["answer"]["max_replicas"], plan["answer"]["replicas"]) == (1, 10, [5])
    found = [one["fleet"] for one in plan["other_loads"]]
    assert [(one["min_replicas"], one["max_replicas"], one["replicas"]) for one in found] == [(1, 12, [6])] * 2
    assert sorted(set(starts), key=str) == [(5, None), (6, 1), (6, None)]


def test_more_load_that_no_lower_bound_carries_has_a_fixed_fleet(tmp_path: Path) -> None:
    """If the autoscaler is too late for the larger load at every bound, the six fixed replicas that carry it are named;
    if nothing does, what was tried.
    """

    def runs(fixed_needs: float) -> MadeUpPool:
        def answer(study: Study, number: int) -> Replication:
            pool, scaler = study.fleet.pools[0], study.autoscaler
            is_more = bool(getattr(study.workload, "path", "")) or study.workload.arrivals.request_rate > 40  # type: ignore[attr-defined]
            if pool.tensor_parallel == 2 or (is_more and scaler is not None):
                return make_up(0.03, number)
            run = make_up(0.02 * (fixed_needs if is_more else 4.6) / pool.replicas, number)
            run.figures.update({"mean_gpus": 3.5, "most_gpus": 8.0})
            return run

        return MadeUpPool(answer)

    base = small_study(autoscaler=HPA, plan__max_num_batched_tokens=[8192])
    plan = run_plan(base, tmp_path / "fixed", pool=runs(5.52)).document
    assert [(one["fleet"]["replicas"], one["fleet"]["max_replicas"]) for one in plan["other_loads"]] == [
        ([6], None)
    ] * 2
    plan = run_plan(base, tmp_path / "none", pool=runs(90.0)).document
    assert [one["remark"] for one in plan["other_loads"]] == [
        "no size was found; the largest that was tried, 20 replicas of 1 x h100-sxm, does not meet the limits"
    ] * 2


def test_one_replica_fewer_is_of_the_same_layout(tmp_path: Path) -> None:
    """Another layout with the same bounds is not named beside the answer, though its fleet of one to ten costs less."""

    def answer(study: Study, number: int) -> Replication:
        tensor_parallel, scaler = study.fleet.pools[0].tensor_parallel, study.autoscaler
        if scaler is None:
            return make_up(0.02 * 4.6 / study.fleet.pools[0].replicas, number)
        run = make_up(0.019 if scaler.min_replicas >= 2 else 0.021, number)
        gpus = {1: 3.5, 2: 2.5 if scaler.min_replicas == 1 else 9.0}[tensor_parallel]
        run.figures.update({"mean_gpus": gpus, "most_gpus": 6.0})
        return run

    base = small_study(autoscaler=HPA, plan__max_num_batched_tokens=[8192])
    plan = run_plan(base, tmp_path / "plan", pool=MadeUpPool(answer)).document
    first = next(one for one in plan["candidates"] if one["max_replicas"])
    assert (first["tensor_parallel"], first["min_replicas"]) == (2, 1)
    assert (plan["answer"]["tensor_parallel"], plan["answer"]["min_replicas"]) == (1, 2)
    assert (plan["one_replica_fewer"]["tensor_parallel"], plan["one_replica_fewer"]["min_replicas"]) == (1, 1)


def test_a_late_autoscaler_leaves_the_fixed_fleet(tmp_path: Path) -> None:
    """If no lower bound below five replicas meets the limits, the fixed fleet is the answer, without an autoscaler."""
    plan = planned(tmp_path / "plan", 5, 3.5).document
    assert (plan["answer"]["replicas"], plan["answer"]["max_replicas"]) == ([5], None)
    assert (plan["other_scaling"]["max_replicas"], plan["other_scaling"]["verdict"]) == (10, "missed")
    assert Study.load(tmp_path / "plan/winner.yaml").autoscaler is None


def test_a_dearer_autoscaled_fleet_has_one_run(tmp_path: Path) -> None:
    """An autoscaler that keeps six replicas where five are enough is named, and not run again."""
    plan = planned(tmp_path / "plan", 1, 6.0).document
    assert (plan["answer"]["replicas"], plan["answer"]["max_replicas"]) == ([5], None)
    other = plan["other_scaling"]
    assert (other["verdict"], other["runs"], other["usd_per_hour"]) == ("met", 1, pytest.approx(6 * 2.99))


def test_a_price_limit_is_on_what_was_used(tmp_path: Path) -> None:
    """Fixed fleets of 14.95 USD break a limit of 11, an autoscaled one of 10.47 does not; with 4 GPUs it does."""
    plan = planned(tmp_path / "plan", 2, 3.5, plan__max_usd_per_hour=11.0).document
    assert plan["answer"]["min_replicas"] == 2
    with pytest.raises(InputError, match=r"for 11 USD an hour .*cheapest that meets them is 4 to 10 .* 11\.96 USD"):
        planned(tmp_path / "other", 2, 4.0, plan__max_usd_per_hour=11.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bounds": {"main": {"min_replicas": 2}}}, r"autoscaler\.bounds: plan chooses the bounds of its one pool"),
        ({"pools": ["other"]}, r"autoscaler\.pools"),
    ],
)
def test_wrong_autoscalers_are_refused_before_anything_runs(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """Bounds of single pools, and a pool that is not there, leave nothing behind."""
    base = small_study(autoscaler={**HPA, **changes})
    with pytest.raises(InputError, match=message):
        run_plan(base, tmp_path / "plan", pool=scaled_runs(2, 3.5))
    assert not (tmp_path / "plan").exists()


def test_a_run_of_an_autoscaled_fleet_has_its_gpus() -> None:
    """One to three replicas from three on: at most 3 GPUs, fewer on average, as nothing needs them."""
    scaler = {"kind": "knative", "target": 100, "tick_s": 1, "stable_window_s": 6}
    base = small_study(autoscaler=scaler, workload__arrivals__request_rate=4, workload__count=100)
    run = make_run(RunTask(fleet_study(base, Fleet(LAYOUT.plain, (3,), Bounds(1, 3))), 0))
    assert run.figures["most_gpus"] == 12
    assert 4 <= run.figures["mean_gpus"] < 12


def test_the_cheapest_autoscaled_fleet_is_named_beside_a_fixed_answer(tmp_path: Path) -> None:
    """Of two that meet the limits in their one run, six GPUs of TP 1 and nine of TP 2, the six are named: 6 x 2.99 USD,
    though TP 2 is further from the limits.
    """

    def answer(study: Study, number: int) -> Replication:
        pool, scaler = study.fleet.pools[0], study.autoscaler
        if scaler is None:
            return make_up(0.02 * {1: 4.6, 2: 2.8}[pool.tensor_parallel] / pool.replicas, number)
        value_s, gpus = {1: (0.019, 6.0), 2: (0.005, 9.0)}[pool.tensor_parallel]
        run = make_up(value_s, number)
        run.figures.update({"mean_gpus": gpus, "most_gpus": gpus})
        return run

    base = small_study(autoscaler=HPA, plan__max_num_batched_tokens=[8192])
    plan = run_plan(base, tmp_path / "plan", pool=MadeUpPool(answer)).document
    scaled = [one["tensor_parallel"] for one in plan["candidates"] if one["max_replicas"]]
    assert sorted(scaled) == [1, 2]
    assert (plan["answer"]["replicas"], plan["answer"]["max_replicas"]) == ([5], None)
    other = plan["other_scaling"]
    assert (other["tensor_parallel"], other["usd_per_hour"]) == (1, pytest.approx(6 * 2.99))
