"""The search of the highest load: bracket, bisection, intervals, and its independence of the workload's length."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster_sim.config.loading.load import check_study, load_study
from cluster_sim.config.loading.template import study_template
from cluster_sim.config.schema.study import Study
from cluster_sim.document import Document
from cluster_sim.errors import InputError
from cluster_sim.study import capacity
from cluster_sim.study.capacity import (
    FOUND,
    NONE,
    UNBOUNDED,
    CapacityTask,
    Search,
    highest_rate,
    rate_of,
    search_capacity,
    statistical_interval,
)
from cluster_sim.study.load_judgement import Judgement, Outcome


def judged(true: float, below: float = 1e9, above: float = 0.0) -> Callable[[float], Judgement]:
    """Return a judge of rates up to ``true``, who is certain of those up to ``below`` and from ``above`` on."""

    def judge(rate: float) -> Judgement:
        if rate <= true:
            return Judgement(Outcome.SUSTAINED if rate <= below else Outcome.UNCLEAR, True, "")
        return Judgement(Outcome.OVERLOADED if rate >= above else Outcome.UNCLEAR, False, "slow")

    return judge


def study(*lines: tuple[str, str]) -> Study:
    text = study_template()
    for old, new in lines:
        assert old in text
        text = text.replace(old, new)
    return check_study(Document.parse(text, "study.yaml"), Path.cwd())


@given(start=st.floats(0.01, 1000), true=st.floats(0.01, 1000), tolerance=st.floats(0.005, 0.3))
def test_finds_the_limit(start: float, true: float, tolerance: float) -> None:
    """The answer is a rate that was judged, and at most the tolerance, never more than 5 %, below the limit."""
    ran = []

    def judge(rate: float) -> Judgement:
        ran.append(rate)
        return judged(true)(rate)

    edge = highest_rate(Search(start, tolerance, 64), judge)
    assert edge.status == FOUND
    assert edge.good in ran
    assert edge.good is not None
    assert edge.bad is not None
    assert edge.good <= true < edge.bad <= edge.good * (1 + min(tolerance, 0.05))
    assert edge.tried == len(ran)
    assert edge.reason == "slow"


def test_hand_worked_search() -> None:
    """From 4 with the limit at 10: 4 and 8 pass, 16 fails, then the geometric means until within 5 %."""
    ran: list[float] = []

    def judge(rate: float) -> Judgement:
        ran.append(rate)
        return judged(10)(rate)

    edge = highest_rate(Search(4.0, 0.05, 64), judge)
    assert ran == pytest.approx([4, 8, 16, 11.3137, 9.5137, 10.3747, 9.9349], rel=1e-5)
    assert (edge.good, edge.bad) == pytest.approx((9.9349, 10.3747), rel=1e-5)


def test_no_rate_and_every_rate() -> None:
    """Where every rate breaks a limit, or none does, the search says so after its last run."""
    nothing = highest_rate(Search(1.0, 0.1, 5), judged(0.0))
    assert (nothing.status, nothing.good, nothing.tried) == (NONE, None, 5)
    all_of_them = highest_rate(Search(1.0, 0.1, 5), judged(1e9))
    assert (all_of_them.status, all_of_them.good, all_of_them.tried) == (UNBOUNDED, 16.0, 5)


def test_refused_requests_end_the_search() -> None:
    """What can never run is refused at every rate: one run tells that there is no capacity."""
    refused = Judgement(Outcome.OVERLOADED, False, "62.0% of the requests are refused")
    edge = highest_rate(Search(1.0), lambda _: refused)
    assert (edge.status, edge.tried, edge.reason) == (NONE, 1, refused.reason)


def test_the_interval_reaches_to_certain_rates() -> None:
    """From the answer in steps of 1, 2, 4 ... times 10 % down to a certain rate, and up from the rate beyond it."""
    judge = judged(10, below=8.5, above=12.5)
    edge = highest_rate(Search(10.0, 0.05), judge)
    assert edge.good == 10
    interval = statistical_interval(edge, 0.1, judge)
    assert interval.low == pytest.approx(10 / 1.1**3)
    assert interval.high == pytest.approx((edge.bad or 0) * 1.1**3)
    certain = judged(10)
    assert statistical_interval(edge, 0.1, certain) == (edge.good, edge.bad)


def test_what_cannot_be_searched() -> None:
    """A study without limits is refused, and clients that hold requests back."""
    unlimited = study(("ttft_p99_s: 2.0", "ttft_p99_s: null"), ("tpot_p99_s: 0.1", "tpot_p99_s: null"))
    with pytest.raises(InputError, match="needs at least one limit"):
        search_capacity(CapacityTask(unlimited, Search(1.0)))
    limited = study()
    limited = limited.model_copy(update={"workload": limited.workload.model_copy(update={"max_concurrency": 4})})
    with pytest.raises(InputError, match=r"workload\.max_concurrency: clients that hold requests back"):
        search_capacity(CapacityTask(limited, Search(1.0)))


@pytest.mark.parametrize("count", [100, 10_000])
def test_the_answer_does_not_depend_on_the_count(shared: Path, count: int) -> None:
    """58.7 requests/s within 3 %, inside the interval, from a workload of 100 requests as from one of 10,000."""
    case = load_study(shared / "cases" / "capacity_count/study.yaml", [f"workload.count={count}"])
    answer = search_capacity(CapacityTask(case, Search(rate_of(case) or 1.0)))
    assert answer.status == FOUND
    assert answer.rate_per_s == pytest.approx(58.7, rel=0.03)
    assert answer.statistical is not None
    assert answer.statistical.low <= 58.7 <= answer.statistical.high < 70


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (["slo={ttft_p99_s: 0.001}"], r"ttft p99 is 0\.0\d+ s, above 0\.001 s"),
        (["router.client_timeout_s=0.02"], r"100\.00% of the requests are cancelled \(client_timeout\)"),
    ],
)
def test_what_an_idle_fleet_misses_is_no_capacity(shared: Path, changes: list[str], reason: str) -> None:
    """A limit, or a client's patience, below what a request alone takes: no capacity, after a few halvings, and why."""
    case = load_study(shared / "cases" / "capacity_count/study.yaml", changes)
    answer = search_capacity(CapacityTask(case, Search(1.0)))
    assert (answer.status, answer.rate_per_s) == (NONE, None)
    assert re.fullmatch(reason, answer.reason)
    assert answer.runs <= 10


def test_a_configuration_that_refuses_has_no_capacity(shared: Path) -> None:
    """With a context of 8,192 tokens three of five prompts are refused: no capacity, after one run."""
    case = load_study(shared / "cases" / "capacity_refused/study.yaml", ["fleet.pools.0.engine.max_model_len=8192"])
    answer = search_capacity(CapacityTask(case, Search(1.0)))
    assert (answer.status, answer.rate_per_s, answer.runs) == (NONE, None, 1)
    assert "of the requests are refused" in answer.reason


def test_a_rate_that_longer_runs_reject_is_searched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short runs sustain 10 requests/s; those that the intervals need sustain 8: the answer is at most 8."""

    class Runs:
        made = 0

        def __init__(self, study: Study) -> None:  # noqa: ARG002 - the interface of SteadyRuns
            self._judged: set[float] = set()
            self._is_long = False

        def judge(self, rate_per_s: float, limits: object) -> Judgement:  # noqa: ARG002 - the interface of SteadyRuns
            self._is_long = self._is_long or rate_per_s in self._judged
            self._judged.add(rate_per_s)
            return judged(8.0 if self._is_long else 10.0)(rate_per_s)

        def summary(self, rate_per_s: float) -> dict[str, Any]:  # noqa: ARG002 - the interface of SteadyRuns
            return {"predictor_coverage": {"error_band_percent": {}}}

        def figure_s(self, rate_per_s: float, limit: object) -> float:  # noqa: ARG002 - the interface of SteadyRuns
            return rate_per_s

        def lost_ratio(self, rate_per_s: float) -> float:  # noqa: ARG002 - the interface of SteadyRuns
            return 0.0

    monkeypatch.setattr(capacity, "SteadyRuns", Runs)
    found = search_capacity(CapacityTask(study(), Search(4.0, 0.03)))
    assert found.rate_per_s is not None
    assert 8.0 / 1.03 <= found.rate_per_s <= 8.0
