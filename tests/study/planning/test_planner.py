"""The planner: which fleets are run, what is recommended, and what goes on after a stop."""

import json
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster_sim import __version__
from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.interruption import INTERRUPTION
from cluster_sim.study.planning import planner
from cluster_sim.study.planning.load_profile import LoadProfile, load_profile
from cluster_sim.study.planning.plan_run import PlanOutcome, run_plan
from cluster_sim.study.planning.planner import Planner
from cluster_sim.study.planning.proposals import proposals
from cluster_sim.study.planning.single_run import RunTask, make_run
from cluster_sim.study.replications import Replication
from tests.study.planning.plan_parts import MadeUpPool, small_study


def figures_of(study: Study, number: int, needed: dict[int, float]) -> Replication:
    """Return a run whose time per token is at its limit where the fleet has as many replicas as ``needed`` says."""
    pool = study.fleet.pools[0]
    load = 1.2 if getattr(study.workload, "path", "") or study.workload.arrivals.request_rate > 40 else 1.0  # type: ignore[attr-defined]
    ratio = load * needed[pool.tensor_parallel] / sum(one.replicas for one in study.fleet.pools)
    tuned = 0.97 if pool.engine.token_budget == 2048 else 1.0
    return make_up(0.02 * ratio * tuned * (1 + 0.001 * number), number)


def make_up(value_s: float, number: int) -> Replication:
    samples = {"tpot_s": np.full(400, value_s), "ttft_s": np.full(400, 0.1)}
    figures = {
        "throughput.output_tokens_per_s": 2400.0,
        "throughput.requests_per_s": 40.0,
        "tpot_s.mean": value_s,
        "slo.good_requests_per_s": 40.0,
        "energy.mean_power_w": 1000.0,
    }
    return Replication(number, 400, samples, {}, 30.0, np.ones(10), figures)


def planned(base: Study, out: Path, needed: dict[int, float], *, first: bool = True) -> tuple[PlanOutcome, MadeUpPool]:
    """Plan with made-up runs, in which a fleet of TP n meets its limit from ``needed[n]`` replicas on."""
    pool = MadeUpPool(lambda study, number: figures_of(study, number, needed), first=first)
    return run_plan(base, out, pool=pool), pool


@pytest.mark.parametrize("first", [True, False], ids=["first ends first", "last ends first"])
def test_the_cheapest_fleet_is_recommended(first: bool, tmp_path: Path) -> None:
    """Five replicas of one GPU beat three of two; the smaller fleet, the runner-up and other loads are named."""
    outcome, _ = planned(small_study(), tmp_path / "plan", {1: 4.6, 2: 2.8}, first=first)
    plan = outcome.document
    assert (plan["answer"]["gpus"], plan["answer"]["tensor_parallel"], plan["answer"]["replicas"]) == (5, 1, [5])
    assert plan["answer"]["verdict"] == "met"
    assert plan["answer"]["usd_per_hour"] == pytest.approx(5 * 2.99)
    assert plan["runner_up"]["replicas"] == [3]
    assert plan["one_replica_fewer"]["replicas"] == [4]
    assert "TPOT p99" in plan["one_replica_fewer"]["reason"]
    assert [(one["load"], one["fleet"]["replicas"]) for one in plan["other_loads"]] == [
        ("20% more load", [6]),
        ("prompts 20% longer", [6]),
    ]
    assert plan["is_complete"]
    assert json.loads((tmp_path / "plan/plan.json").read_text()) == plan
    winner = Study.load(tmp_path / "plan/winner.yaml")
    assert (winner.fleet.pools[0].replicas, winner.plan) == (5, None)


def test_a_better_limit_of_a_step_may_win(tmp_path: Path) -> None:
    """A fleet that a smaller token budget brings within the limits is the answer, with that budget."""
    outcome, _ = planned(small_study(), tmp_path / "plan", {1: 4.1, 2: 4.0})
    answer = outcome.document["answer"]
    assert (answer["replicas"], answer["max_num_batched_tokens"]) == ([4], 2048)


@pytest.mark.parametrize(
    ("needed", "pool", "is_tried"),
    [
        (1.1, {}, False),
        (2.1, {}, True),
        (1.1, {"data_parallel": 2, "route_ranks": True}, True),
        (1.1, {"data_parallel": 2}, False),
    ],
    ids=["one replica", "two replicas", "two ranks as targets", "two ranks of one target"],
)
def test_routing_is_tried_where_it_decides(
    needed: float, pool: dict[str, object], is_tried: bool, tmp_path: Path
) -> None:
    """A fleet one replica smaller than the best is tried with another policy if it has two targets to choose from."""
    whole = {"model": "qwen3-30b-a3b", "device": "h100-sxm", "engine": {"kind": "vllm_v1"}, **pool}
    base = small_study(fleet={"pools": [whole]}, plan__tensor_parallel=[1])
    outcome, _ = planned(base, tmp_path / "plan", {1: needed})
    smaller = [one for one in outcome.document["candidates"] if one["replicas"] == [int(needed)]]
    assert any(one["max_num_batched_tokens"] for one in smaller)
    assert any(one["policy"] for one in smaller) is is_tried


def test_dearer_layouts_are_not_run(tmp_path: Path) -> None:
    """Once a fleet is confirmed, a layout that costs more has only the runs of a runner-up."""
    outcome, _ = planned(small_study(), tmp_path / "plan", {1: 2.9, 2: 9.0})
    sizes = [one["replicas"] for one in outcome.document["candidates"] if one["tensor_parallel"] == 2]
    assert max(sizes) <= [3]


def test_a_second_plan_in_the_directory_runs_nothing(tmp_path: Path) -> None:
    """Everything that was learned is kept: the same plan again makes no run and gives the same answer."""
    first, _ = planned(small_study(), tmp_path / "plan", {1: 4.6, 2: 2.8})
    again, pool = planned(small_study(plan__time_limit_s=60), tmp_path / "plan", {1: 4.6, 2: 2.8})
    assert pool.submitted == 0
    assert again.document == first.document
    with pytest.raises(InputError, match=r"holds another plan .*: slo\.tpot_p99_s is 0\.02 there and 0\.03 here"):
        planned(small_study(slo__tpot_p99_s=0.03), tmp_path / "plan", {1: 4.6, 2: 2.8})
    record = tmp_path / "plan" / "plan.yaml"
    record.write_text(record.read_text().replace(f"cluster-sim {__version__}", "cluster-sim 0.0.9"))
    with pytest.raises(InputError, match=r"holds a plan of release 0\.0\.9"):
        planned(small_study(), tmp_path / "plan", {1: 4.6, 2: 2.8})


def test_interrupts_keep_what_was_learned(tmp_path: Path) -> None:
    """A plan that Ctrl-C stops ends with what it knows, and the same command goes on."""
    calls = []

    def answer(study: Study, number: int) -> Replication:
        calls.append(number)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return figures_of(study, number, {1: 4.6, 2: 2.8})

    with pytest.raises(UnfinishedError, match="interrupted; 3 runs kept, and the same command goes on"):
        run_plan(small_study(), tmp_path / "plan", pool=MadeUpPool(answer))
    assert not json.loads((tmp_path / "plan/plan.json").read_text())["is_complete"]
    outcome, pool = planned(small_study(), tmp_path / "plan", {1: 4.6, 2: 2.8})
    assert outcome.document["answer"]["replicas"] == [5]
    assert pool.submitted == outcome.result.runs - 3


def test_an_interrupt_that_a_library_catches_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal whose exception is lost in the second run stops the plan after that run, which is kept."""
    for state in ("has_come", "_is_ending"):  # A command that has ended in this process heeds no signal any more.
        monkeypatch.setattr(INTERRUPTION, state, False)
    numbers = []

    def answer(study: Study, number: int) -> Replication:
        numbers.append(number)
        if len(numbers) == 2:
            with suppress(KeyboardInterrupt):
                INTERRUPTION.handle(signal.SIGTERM, None)
        return figures_of(study, number, {1: 4.6, 2: 2.8})

    out = tmp_path / "plan"
    with pytest.raises(UnfinishedError) as caught:
        run_plan(small_study(), out, pool=MadeUpPool(answer))
    learned = f"what was learned is in {out / 'plan.json'}"
    assert str(caught.value) == f"interrupted; 2 runs kept, and the same command goes on in {out}; {learned}"


def test_an_interrupt_that_a_library_changes_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal of which a library makes an error, while the next run is prepared, keeps the runs and plan.json."""
    for state in ("has_come", "_is_ending"):  # A command that has ended in this process heeds no signal any more.
        monkeypatch.setattr(INTERRUPTION, state, False)
    ended: list[int] = []
    prepare = planner.fleet_study

    def prepared(base: Study, fleet: Any) -> Study:
        if ended:
            with suppress(KeyboardInterrupt):
                INTERRUPTION.handle(signal.SIGTERM, None)
            raise ValueError("Error calling function `write_file`: KeyboardInterrupt")
        return prepare(base, fleet)

    def answer(study: Study, number: int) -> Replication:
        ended.append(number)
        return figures_of(study, number, {1: 4.6, 2: 2.8})

    monkeypatch.setattr(planner, "fleet_study", prepared)
    out = tmp_path / "plan"
    with pytest.raises(UnfinishedError, match="interrupted; 1 run kept, and the same command goes on"):
        run_plan(small_study(), out, pool=MadeUpPool(answer))
    assert json.loads((out / "plan.json").read_text())["runs"] == 1


def test_an_interrupt_before_the_first_run_names_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the load is read there is nothing to tell yet, but where it goes on: the same command finds the answer."""

    def interrupted(_: Study) -> LoadProfile:
        raise KeyboardInterrupt

    out = tmp_path / "plan"
    with monkeypatch.context() as patch:
        patch.setattr(planner, "load_profile", interrupted)
        with pytest.raises(UnfinishedError) as caught:
            planned(small_study(), out, {1: 4.6, 2: 2.8})
    assert str(caught.value) == f"interrupted; 0 runs kept, and the same command goes on in {out}"
    outcome, _ = planned(small_study(), out, {1: 4.6, 2: 2.8})
    assert outcome.document["answer"]["replicas"] == [5]


def test_an_early_interrupt_hides_nothing(tmp_path: Path) -> None:
    """An attempt that goes on from a whole plan and is stopped at once leaves its plan.json and its winner."""
    out = tmp_path / "plan"
    first, _ = planned(small_study(), out, {1: 4.6, 2: 2.8})
    before = (out / "plan.json").read_text(), (out / "winner.yaml").read_text()

    def stop(_: Planner) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Planner, "_main_runs", stop)
        with pytest.raises(UnfinishedError) as caught:
            planned(small_study(), out, {1: 4.6, 2: 2.8})
    assert f"interrupted; {first.result.runs} runs kept" in str(caught.value)
    assert ((out / "plan.json").read_text(), (out / "winner.yaml").read_text()) == before


def test_a_run_that_fails_is_a_row(tmp_path: Path) -> None:
    """A layout whose runs fail has the reason in its row, and the others are planned all the same."""

    def answer(study: Study, number: int) -> Replication | Exception:
        if study.fleet.pools[0].tensor_parallel == 1:
            return RuntimeError("no such luck")
        return figures_of(study, number, {2: 2.8})

    plan = run_plan(small_study(), tmp_path / "plan", pool=MadeUpPool(answer)).document
    assert plan["answer"]["tensor_parallel"] == 2
    failed = [one for one in plan["candidates"] if one["tensor_parallel"] == 1]
    assert [one["reason"] for one in failed] == ["RuntimeError: no such luck"]


def test_degrees_beyond_a_node(tmp_path: Path) -> None:
    """TP 16 is simulated where the study names it, as in a run, on two nodes of 8 a replica; TP 8 fits into one."""
    base = small_study(plan__tensor_parallel=[8, 16], plan__max_num_batched_tokens=[8192])
    plan = planned(base, tmp_path / "plan", {8: 2.8, 16: 0.9})[0].document
    assert {(one["tensor_parallel"], one["nodes_per_replica"]) for one in plan["candidates"]} == {(8, 1), (16, 2)}
    assert (plan["answer"]["tensor_parallel"], plan["answer"]["nodes_per_replica"]) == (16, 2)


@pytest.mark.parametrize(("gpus", "degrees"), [(None, [1, 2, 4, 8]), (4, [1, 2, 4]), (16, [1, 2, 4, 8, 16])])
def test_degrees_end_at_a_node(gpus: int | None, degrees: list[int]) -> None:
    """Without degrees in the plan they are the powers of two up to the GPUs of a node: the pool's, or 8 of the H100."""
    base = small_study(plan__tensor_parallel=None, fleet__pools__0__node=None if gpus is None else {"gpus": gpus})
    base = base.with_changes({"predictor": {"kind": "physical"}})
    found = proposals(base, load_profile(base))
    assert [one.layout.tensor_parallel for one in found] == degrees


def test_nothing_meets_says_how_near_and_why(tmp_path: Path) -> None:
    """If no fleet that is allowed meets the limits, the nearest is named with its figures and what it would take."""
    base = small_study(plan__max_gpus=2)
    with pytest.raises(InputError, match=r"nearest is .* TPOT p99 .* limit 20 ms.* max_gpus does not allow"):
        planned(base, tmp_path / "plan", {1: 4.6, 2: 2.8})
    assert json.loads((tmp_path / "plan/plan.json").read_text())["answer"] is None


def test_limits_below_an_empty_replica_are_named(tmp_path: Path) -> None:
    """A limit that one token alone breaks is refused by arithmetic, with the nearest layout."""
    base = small_study(slo__tpot_p99_s=0.0001)
    with pytest.raises(InputError, match=r"no fleet of any size .* nearest is 2 x h100-sxm .* a token alone takes"):
        planned(base, tmp_path / "plan", {1: 1.0, 2: 1.0})


def test_runs_whose_processes_die_are_no_answer(tmp_path: Path) -> None:
    """If every run's process dies nothing is known of any fleet: the plan is unfinished, and the reason is named."""
    died = UnfinishedError("the process that ran it died")
    with pytest.raises(UnfinishedError, match=r"no run could be finished: .* h100-sxm.*, because the process that ran"):
        run_plan(small_study(), tmp_path / "plan", pool=MadeUpPool(lambda *_: died))


def test_a_load_beyond_every_fleet_is_refused_before_anything_runs(tmp_path: Path) -> None:
    """A multiple of the load that 4,096 replicas do not carry by arithmetic: no run is made, and nothing is left."""
    base = small_study(workload__arrivals__request_rate=4e8)
    with pytest.raises(InputError, match=r"requests a second .* are more than 4,096 replicas of any layout carry"):
        run_plan(base, tmp_path / "plan", has_scaled_load=True)
    assert not (tmp_path / "plan").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"plan__max_usd_per_hour": 1.0}, r"max_usd_per_hour: 1 USD an hour pay for no replica; the cheapest is 1 x"),
        ({"plan__tensor_parallel": [4], "plan__max_gpus": 3}, r"max_gpus: 3 GPUs hold no replica; the smallest is 4 x"),
        ({"slo": {}}, "a plan needs at least one limit"),
        ({"fleet__pools__0__model": "llama-3.1-405b"}, "no layout fits: the first, 1 x h100-sxm, because"),
    ],
)
def test_wrong_plans_leave_nothing(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    """Constraints that contradict each other, a missing limit and a model that fits nowhere are refused."""
    with pytest.raises(InputError, match=message):
        planned(small_study(**changes), tmp_path / "plan", {1: 1.0, 2: 1.0, 4: 1.0})
    if "405b" not in str(changes):
        assert not (tmp_path / "plan").exists()


def test_time_that_runs_out_is_said(tmp_path: Path) -> None:
    """A plan without an answer when its time is over says how to go on."""
    with pytest.raises(UnfinishedError, match="the same command goes on"):
        planned(small_study(plan__time_limit_s=1e-9), tmp_path / "plan", {1: 4.6, 2: 2.8})


def test_two_pools_are_refused(tmp_path: Path) -> None:
    """A study with two pools is refused: the plan proposes the pools."""
    pool = {"model": "llama-3-8b", "device": "h100-sxm"}
    base = small_study(fleet__pools=[{"name": "a", **pool}, {"name": "b", **pool}])
    with pytest.raises(InputError, match="needs one pool"):
        run_plan(base, tmp_path / "plan")


def test_samples_are_kept_for_limits_alone() -> None:
    """A stored run has the values of limited figures, and none else; its figures include energy and throughput."""
    run = make_run(RunTask(small_study().with_changes({"workload.count": 50, "plan": None}), 1))
    assert set(run.samples) == {"ttft_s", "tpot_s"}
    assert {"energy.mean_power_w", "throughput.output_tokens_per_s"} <= set(run.figures)


def test_users_and_sessions_are_units_of_the_load() -> None:
    """Twelve users with a pause of 2 s, and ten sessions that start 2 a second, are what the load is counted in."""
    lengths = {"prompt": {"kind": "fixed", "value": 100}, "output": {"kind": "fixed", "value": 10}}
    think = {"kind": "fixed", "value": 2}
    users = {"kind": "closed_loop", "users": 12, "count": 1200, "lengths": lengths, "think_time_s": think}
    load = load_profile(small_study(workload=users))
    assert (load.unit, load.users, load.sessions) == ("users", 12, None)
    assert load.rate_per_s == pytest.approx(6.0, rel=0.02)
    assert load.once_served(2.0).rate_per_s == pytest.approx(3.0, rel=0.02)
    sessions = {"kind": "sessions", "count": 10, "turns": {"kind": "fixed", "value": 3}, "lengths": lengths}
    sessions |= {"arrivals": {"kind": "constant", "request_rate": 2}, "think_time_s": think}
    load = load_profile(small_study(workload=sessions))
    assert (load.unit, load.users, load.sessions, load.requests) == ("sessions", None, 10, 30)
    assert load.sessions_per_s == pytest.approx(10 / 4.5)
    assert load.once_served(2.0) == load


def test_more_users_are_named(tmp_path: Path) -> None:
    """The other load of a closed loop is one of more users."""
    lengths = {"prompt": {"kind": "fixed", "value": 800}, "output": {"kind": "fixed", "value": 60}}
    users = {"kind": "closed_loop", "users": 100, "count": 400, "lengths": lengths}
    base = small_study(workload=users | {"think_time_s": {"kind": "fixed", "value": 2}})

    def answer(study: Study, number: int) -> Replication:
        size = study.fleet.pools[0].replicas
        return make_up(0.02 * study.workload.users / 25 / size * 0.99, number)  # type: ignore[attr-defined]

    plan = run_plan(base, tmp_path / "plan", pool=MadeUpPool(answer)).document
    assert (plan["load"]["unit"], plan["load"]["users"]) == ("users", 100)
    more, longer = plan["other_loads"]
    assert (more["load"], more["fleet"]["replicas"]) == ("20% more users", [5])
    assert "reacts, are not lengthened" in longer["remark"]
