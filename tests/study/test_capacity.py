"""The search of the highest load: bracket, bisection, the ladder of its interval, and what cannot be searched."""

import re
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster_sim.config.loading.load import load_study
from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.metrics.intervals import Estimate
from cluster_sim.metrics.objectives import Slo
from cluster_sim.metrics.verdicts import Interval, Verdict
from cluster_sim.study import capacity
from cluster_sim.study.capacity import (
    FOUND,
    NONE,
    SEARCH,
    UNBOUNDED,
    Capacity,
    certain_interval,
    highest_rate,
    search_capacity,
)
from cluster_sim.study.limited_figures import load_limits
from cluster_sim.study.rate_judgement import Effort, Judging, RateJudgement
from cluster_sim.study.replications import Replication, run_replication
from cluster_sim.study.steady_load import SteadyRun, steady_task
from tests.study.small_search import make_small

QUEUE = """\
name: queue
seed: 3
workload: {kind: synthetic, count: 7, arrivals: {kind: poisson, request_rate: 0.02},
  lengths: {prompt: {kind: exponential, mean: 1000, min: 1, max: 8000}, output: {kind: fixed, value: 1}}}
fleet: {pools: [{model: llama-3-8b, device: h100-sxm, engine: {kind: orca, max_num_seqs: 1}}]}
predictor: {kind: linear, alpha_us: 1, beta_us: 1000}
slo: {e2e_p90_s: 5}
"""


def answer_of(steps: Generator[Any, Any, Any], made: list[SteadyRun] | None = None, study: Study | None = None) -> Any:
    """Carry a search out in this process; note the runs that it makes."""
    results: list[Replication] | None = None
    known: dict[SteadyRun, Replication] = {}
    while True:
        try:
            wanted = next(steps) if results is None else steps.send(results)
        except StopIteration as end:
            return end.value
        assert study is not None, "a judge of these tests needs no runs"
        for run in wanted:
            if run not in known:
                known[run] = run_replication(steady_task(study, run))
                if made is not None:
                    made.append(run)
        results = [known[run] for run in wanted]


def judged(
    true: float, below: float = 1e9, above: float = 0.0, seen: list[float] | None = None
) -> Callable[[float, Effort], Judging]:
    """Return a judge of rates up to ``true``, who is certain of those up to ``below`` and from ``above`` on."""

    def judge(rate: float, effort: Effort) -> Judging:
        if seen is not None:
            seen.append(rate)
        if rate <= true:
            return RateJudgement(Verdict.MET if rate <= below else Verdict.TOO_CLOSE, is_within=True)
        return RateJudgement(Verdict.MISSED if rate >= above else Verdict.TOO_CLOSE, is_within=False, reason="slow")
        yield []

    return judge


def queue(folder: Path, *changes: str) -> Study:
    path = folder / "study.yaml"
    path.write_text(QUEUE)
    return load_study(path, changes)


@given(start=st.floats(0.01, 1000), true=st.floats(0.01, 1000), tolerance=st.floats(0.005, 0.05))
def test_finds_the_limit(start: float, true: float, tolerance: float) -> None:
    """The answer is a rate that was judged, and at most the tolerance below one that is beyond the limits."""
    seen: list[float] = []
    edge = answer_of(highest_rate(judged(true, seen=seen), start, tolerance))
    assert edge.status == FOUND
    assert edge.good in seen
    assert edge.good <= true < edge.bad <= edge.good * (1 + tolerance)
    assert edge.reason == "slow"


def test_hand_worked_search() -> None:
    """From 4 with the limit at 10: steps of 1.3, 1.69, 2.8561 upwards, then geometric means until within 5 %."""
    seen: list[float] = []
    edge = answer_of(highest_rate(judged(10, seen=seen), 4.0, 0.05))
    assert seen[:4] == pytest.approx([4, 5.2, 8.788, 25.0994], rel=1e-5)
    assert seen[4] == pytest.approx((8.788 * 25.0994) ** 0.5, rel=1e-5)
    assert edge.bad / edge.good <= 1.05


def test_no_rate_and_every_rate() -> None:
    """Where every rate breaks a limit, or none does, the search says so."""
    nothing = answer_of(highest_rate(judged(0.0), 1.0, 0.05))
    assert (nothing.status, nothing.good) == (NONE, None)
    everything = answer_of(highest_rate(judged(np.inf), 1.0, 0.05))
    assert (everything.status, everything.bad) == (UNBOUNDED, None)


def test_refused_requests_end_the_search() -> None:
    """What can never run is refused at every rate: one judgement tells that there is no capacity."""
    seen: list[float] = []

    def refusing(rate: float, effort: Effort) -> Judging:
        seen.append(rate)
        return RateJudgement(Verdict.MISSED, is_within=False, reason="62.0% of the requests are refused")
        yield []

    edge = answer_of(highest_rate(refusing, 1.0, 0.05))
    assert (edge.status, len(seen)) == (NONE, 1)


@pytest.mark.parametrize(("start", "true"), [(10.0, 10.05), (10.0, 10.5), (10.0, 9.2), (10.0, 10.15)])
def test_the_ladder(start: float, true: float) -> None:
    """From wherever the bisection ended, the answer is the last half rung within the limits, as is its interval."""
    edge, interval = answer_of(certain_interval(judged(true), capacity.Edge(start, 11.0, ""), 0.02))
    assert edge.good <= true < edge.bad == pytest.approx(edge.good * 1.02**0.5)
    assert interval == pytest.approx((edge.good, edge.bad))
    assert edge.reason == "slow"


def test_no_rung_within_the_limits() -> None:
    """Longer runs that reject every rung within reach leave no answer."""
    edge, interval = answer_of(certain_interval(judged(0.1), capacity.Edge(10.0, 11.0, ""), 0.02))
    assert (edge.status, edge.good, interval.low) == (NONE, None, 0.0)


def test_the_interval_reaches_to_certain_rates() -> None:
    """From the answer in moves of one rung, two, four ... down to a certain rate, and up from the next."""
    judge = judged(10.1, below=8.5, above=12.5)
    edge, interval = answer_of(certain_interval(judge, capacity.Edge(10.0, 11.0, ""), 0.02))
    assert (edge.good, edge.bad) == pytest.approx((10 * 1.02**0.5, 10 * 1.02))
    # Rungs 0.5, -0.5, -2.5, -6.5 and -14.5; 10 * 1.02^-6.5 is 8.8, above 8.5.  Upwards rungs 1, 2, 4, 8 and 16.
    assert interval.low == pytest.approx(10 * 1.02**-14.5)
    assert interval.high == pytest.approx(10 * 1.02**16)


def _judged(values: dict[float, float]) -> dict[float, RateJudgement]:
    """Return judgements with these TTFT P99 in s at these rates."""
    return {
        rate: RateJudgement(Verdict.MET, is_within=True, figures={"ttft_p99_s": Estimate(value, Interval(0.0, 9.0))})
        for rate, value in values.items()
    }


BAND = "predictor_coverage.error_band_percent."


def test_the_band_is_read_off_the_figures() -> None:
    """Where P99 is the square of the rate, a limit of 1 that is 19 % tighter is kept up to 0.9; wider up to 1.09."""
    limits = load_limits(Slo(ttft_p99_s=1.0))
    judgements = _judged({rate: rate * rate for rate in (0.5, 0.8, 1.0, 1.3)})
    figures = {f"{BAND}ttft_p99": 19.0, f"{BAND}requests_per_s": 2.0}
    for sure, short in ((judgements, {}), ({}, judgements)):
        assert capacity.band_of(sure, short, limits, 1.0, figures) == pytest.approx((0.9, 1.19**0.5))
    assert capacity.band_of(judgements, {}, limits, 1.0, {f"{BAND}requests_per_s": 2.0}) is None
    wide = {f"{BAND}ttft_p99": 1.0, f"{BAND}requests_per_s": 20.0}
    assert capacity.band_of(judgements, {}, limits, 1.0, wide) == pytest.approx((0.8, 1.2))


def test_shorter_runs_tell_how_the_band_goes_on() -> None:
    """Longer runs have P99 = rate^2 from 0.95 to 1.05; shorter ones, at twice that, continue it, and hide nothing."""
    limits = load_limits(Slo(ttft_p99_s=1.0))
    sure = _judged({rate: rate * rate for rate in (0.95, 1.0, 1.05)})
    short = _judged({rate: 2 * rate * rate for rate in (0.5, 0.8, 0.98, 1.02, 1.3)})
    band = capacity.band_of(sure, short, limits, 1.0, {f"{BAND}ttft_p99": 19.0, f"{BAND}requests_per_s": 0.0})
    assert band == pytest.approx((0.9, 1.19**0.5))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    make_small(monkeypatch, sure=800)


@pytest.mark.usefixtures("quick")
def test_capacity_of_a_queue(tmp_path: Path) -> None:
    """An M/M/1 queue with a mean service of 1 s keeps its P90 below 5 s up to 1 - ln 10 / 5 = 0.54 a second."""
    study = queue(tmp_path)
    made: list[SteadyRun] = []
    answer: Capacity = answer_of(search_capacity(study, 0.05), made, study)
    assert answer.status == FOUND
    assert answer.rate_per_s == pytest.approx(1 - np.log(10) / 5, rel=0.25)
    assert answer.interval is not None
    assert answer.interval.low <= answer.rate_per_s < answer.interval.high
    assert answer.interval.low <= 1 - np.log(10) / 5 <= answer.interval.high
    assert answer.summary is not None
    assert answer.summary["gpus"] == 1
    assert answer.figures is not None
    assert answer.figures["e2e_p90_s"].value <= 5
    assert answer.band is None
    assert made[0].rate_per_s == capacity.BURST_PER_S
    assert answer.reason.startswith("e2e p90 is ")


def test_what_cannot_be_searched(tmp_path: Path) -> None:
    """A study without limits is refused, clients that hold requests back, and arrivals without one rate."""
    with pytest.raises(InputError, match="needs at least one limit"):
        search_capacity(queue(tmp_path, "slo={}"))
    with pytest.raises(InputError, match=r"workload\.max_concurrency: clients that hold requests back"):
        search_capacity(queue(tmp_path, "workload.max_concurrency=4"))
    states = "{kind: mmpp, states: [{request_rate: 1, mean_stay_s: 5}, {request_rate: 3, mean_stay_s: 5}]}"
    with pytest.raises(InputError, match="got synthetic with arrivals of kind mmpp"):
        search_capacity(queue(tmp_path, f"workload.arrivals={states}"))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (["slo={e2e_p50_s: 0.1}"], r"e2e p50 is 0\.\d+ s, above 0\.1 s"),
        (["router.client_timeout_s=0.02"], r"\d+\.\d+% of the requests are cancelled \(client_timeout\)"),
        (["workload.lengths.prompt={kind: fixed, value: 9000}"], r"100\.00% of the requests are refused.*"),
    ],
)
def test_what_an_idle_fleet_misses_is_no_capacity(tmp_path: Path, changes: list[str], reason: str) -> None:
    """A limit, a client's patience, or a context below what a request alone takes: no capacity, and why."""
    study = queue(tmp_path, *changes)
    made: list[SteadyRun] = []
    answer: Capacity = answer_of(search_capacity(study), made, study)
    assert (answer.status, answer.rate_per_s, answer.interval) == (NONE, None, None)
    assert re.fullmatch(reason, answer.reason)
    assert len(made) <= 30


@pytest.mark.acceptance
@pytest.mark.parametrize("count", [300, 10_000])
def test_the_answer_does_not_depend_on_the_count(shared: Path, count: int) -> None:
    """58.7 requests/s within 3 %, inside the interval, from a workload of 300 requests as from one of 10,000."""
    case = load_study(shared / "cases" / "capacity_count/study.yaml", [f"workload.count={count}"])
    answer: Capacity = answer_of(search_capacity(case), None, case)
    assert answer.status == FOUND
    assert answer.rate_per_s == pytest.approx(58.7, rel=0.03)
    assert answer.interval is not None
    assert answer.interval.low <= 58.7 <= answer.interval.high < 65


def test_a_configuration_that_refuses_has_no_capacity(shared: Path) -> None:
    """With a context of 8,192 tokens three of five prompts are refused: no capacity, after two runs."""
    case = load_study(shared / "cases" / "capacity_refused/study.yaml", ["fleet.pools.0.engine.max_model_len=8192"])
    made: list[SteadyRun] = []
    answer: Capacity = answer_of(search_capacity(case), made, case)
    assert (answer.status, answer.rate_per_s) == (NONE, None)
    assert len(made) == 2
    assert "of the requests are refused" in answer.reason


def test_efforts_grow() -> None:
    """The rungs of the ladder take longer runs than the bisection."""
    assert capacity.SURE.requests > SEARCH.requests
