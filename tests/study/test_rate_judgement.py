"""Judgement of a rate by replications: hopeless rates, growing queues, limits that are close."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from cluster_sim.metrics.objectives import ClassLimits, ClassMatch, Slo
from cluster_sim.metrics.verdicts import Verdict
from cluster_sim.study.limited_figures import load_limits
from cluster_sim.study.rate_judgement import Effort, RateJudgement, judge_rate, judged
from cluster_sim.study.replications import Replication, Replications
from cluster_sim.study.steady_load import SteadyRun

LIMITS = load_limits(Slo(ttft_p90_s=1.0))
FLAT = np.full(10, 4.0)
EFFORT = Effort(requests=2000, replications=10)


def replication(
    run: SteadyRun,
    ttft_s: np.ndarray,
    *,
    residences: float = 50.0,
    present: np.ndarray = FLAT,
    lost: dict[str, int] | None = None,
) -> Replication:
    """Return a run with given times to the first token."""
    samples = {"ttft_s": ttft_s, "tpot_s": ttft_s, "e2e_s": ttft_s}
    return Replication(run.number, run.requests, samples, lost or {}, residences, present)


def carried_out(
    answers: Callable[[SteadyRun], Replication], limits: Sequence[object] = LIMITS
) -> tuple[RateJudgement, list[SteadyRun]]:
    """Return the judgement on runs that a function makes, and which it made."""
    steps, made, results = judge_rate(2.0, limits, EFFORT), [], None  # type: ignore[arg-type]
    while True:
        try:
            wanted = next(steps) if results is None else steps.send(results)
        except StopIteration as end:
            return end.value, made
        made += wanted
        results = [answers(run) for run in wanted]


def test_a_rate_within_the_limits() -> None:
    """Five runs of which no request is late are enough, after a short one that is not hopeless."""
    judgement, made = carried_out(lambda run: replication(run, np.linspace(0.1, 0.9, 800)))
    assert (judgement.verdict, judgement.is_within, judgement.reason) == (Verdict.MET, True, "")
    assert [(run.number, run.requests) for run in made] == [(0, 1000), *((number, 2000) for number in range(5))]
    assert judgement.figures["ttft_p90_s"].value == pytest.approx(0.82, abs=0.01)


def test_a_hopeless_rate_ends_after_one_run() -> None:
    """A third of the requests are late in every batch of the first run: no further one is made."""
    judgement, made = carried_out(lambda run: replication(run, np.tile([0.5, 0.5, 2.0], 400)))
    assert (judgement.verdict, len(made)) == (Verdict.MISSED, 1)
    assert judgement.reason == "ttft p90 is 2 s, above 1 s"


def test_a_queue_without_bound_is_not_waited_for() -> None:
    """The queue of a run twice as long grows twice as high, and stays with it: missed, though no limit is broken."""

    def growing(run: SteadyRun) -> Replication:
        return replication(run, np.full(800, 0.5), residences=3.0, present=np.arange(1.0, 11.0) * run.requests)

    judgement, made = carried_out(growing)
    assert (judgement.verdict, judgement.is_within) == (Verdict.MISSED, False)
    assert judgement.reason == "the number of requests in the system grows by 164% of its mean over a run"
    assert [run.requests for run in made] == [1000, 2000]


def test_a_fleet_that_fills_is_waited_for() -> None:
    """A run must be ten residences long: the first is doubled until it is, and the others have its length."""

    def filling(run: SteadyRun) -> Replication:
        return replication(run, np.full(800, 0.5), residences=run.requests / 300)

    judgement, made = carried_out(filling)
    assert judgement.verdict is Verdict.MET
    assert [run.requests for run in made] == [1000, 2000, 4000, *[4000] * 4]


def test_growth_over_the_replications_lengthens_them() -> None:
    """Queues that grow over runs of 2,000 and settle in runs of 4,000 are judged by these; endless ones are missed."""

    def settling(run: SteadyRun) -> Replication:
        present = np.arange(1.0, 11.0) + 0.01 * run.number if run.requests < 4000 else FLAT
        return replication(run, np.full(800, 0.5), present=present)

    judgement, made = carried_out(settling)
    assert (judgement.verdict, judgement.requests) == (Verdict.MET, 4000)
    assert sorted({run.requests for run in made}) == [1000, 2000, 4000]

    def endless(run: SteadyRun) -> Replication:
        return replication(run, np.full(800, 0.5), present=np.arange(1.0, 11.0) * run.requests + run.number)

    judgement, made = carried_out(endless)
    assert judgement.verdict is Verdict.MISSED
    assert max(run.requests for run in made) == 4000


def test_a_limit_in_the_middle_of_the_noise_is_too_close() -> None:
    """Runs with 5 % and with 15 % of late requests do not decide about 10 %, and more of them would not soon."""

    def noisy(run: SteadyRun) -> Replication:
        late = 40 if run.number % 2 else 119
        return replication(run, np.concatenate([np.full(800 - late, 0.5), np.linspace(1.01, 2, late)]))

    judgement, made = carried_out(noisy)
    assert judgement.verdict is Verdict.TOO_CLOSE
    assert len(made) <= 11


def test_two_overloaded_runs_among_five_do_not_decide() -> None:
    """Shares of 0, 23, 0, 20 and 0 % of late requests leave 8.6 % give or take 14.6 (2.776 times 5.3): no certain miss,
    though the 99th percentile of all runs together and its interval lie within the late ones.
    """
    [limit] = load_limits(Slo(ttft_p99_s=1.0))
    run = SteadyRun(1.0, 0, 1000)
    late = (0, 230, 0, 200, 0)
    parts = [np.concatenate([np.full(1000 - count, 0.5), np.linspace(2, 30, count)]) for count in late]
    found = Replications(tuple(replication(run, part) for part in parts))
    estimate = found.limited(limit)
    assert estimate is not None
    assert estimate.interval.low > 1.0
    assert found.verdict(limit) is Verdict.TOO_CLOSE
    # All five overloaded: 20 % give or take 2.2 (2.776 times 0.8) are certain.
    parts = [
        np.concatenate([np.full(1000 - count, 0.5), np.linspace(2, 30, count)]) for count in (180, 190, 200, 210, 220)
    ]
    assert Replications(tuple(replication(run, part) for part in parts)).verdict(limit) is Verdict.MISSED


def test_one_run_with_late_requests_among_five_is_no_certain_success() -> None:
    """Shares of 0, 0, 0, 0 and 4 % leave 0.8 % give or take 2.2: more than one in a hundred may be late."""
    [limit] = load_limits(Slo(ttft_p99_s=1.0))
    run = SteadyRun(1.0, 0, 1000)
    parts = [np.full(1000, 0.5)] * 4 + [np.concatenate([np.full(960, 0.5), np.full(40, 1.001)])]
    assert Replications(tuple(replication(run, part) for part in parts)).verdict(limit) is Verdict.TOO_CLOSE


def test_lost_requests_are_worse_than_any_limit() -> None:
    """One in fifty lost is too many, whatever the limits are; one in two hundred counts as late."""
    run = SteadyRun(1.0, 0, 1000)
    lost = replication(run, np.full(980, 0.1), lost={"shed": 15, "cancelled (client_timeout)": 5})
    judgement = judged(Replications((lost, lost)), LIMITS)
    assert (judgement.verdict, judgement.is_within) == (Verdict.MISSED, False)
    assert judgement.reason == ("1.50% of the requests are shed, 0.50% of the requests are cancelled (client_timeout)")
    few = replication(run, np.concatenate([np.full(995, 0.1), np.full(5, np.inf)]), lost={"shed": 5})
    strict = load_limits(Slo(ttft_p99_s=1.0, ttft_mean_s=1.0))
    both = Replications((few, few))
    assert both.verdict(strict[0] if strict[0].limit.percentile == "p99" else strict[1]) is Verdict.MET
    judgement = judged(both, strict)
    assert (judgement.verdict, judgement.is_within) == (Verdict.MISSED, False)


def test_limits_of_classes_and_of_gaps() -> None:
    """A class has its own values; gaps between tokens are known by the figures of each run."""
    slo = Slo(itl_p99_s=0.05, classes=[ClassLimits(match=ClassMatch(tenant="a"), ttft_p90_s=1.0)])
    limits = load_limits(slo)
    runs = []
    for number, gap_s in enumerate((0.040, 0.042, 0.041)):
        samples = {"e2e_s": np.full(100, 1.0), "tenant a: ttft_s": np.full(50, 2.0)}
        runs.append(Replication(number, 100, samples, {}, 50.0, FLAT, {"itl_s.p99": gap_s}))
    judgement = judged(Replications(tuple(runs)), limits)
    assert judgement.figures["itl_p99_s"].value == pytest.approx(0.041)
    assert judgement.reason == "tenant a: ttft p90 is 2 s, above 1 s"
    assert judgement.verdict is Verdict.MISSED


def test_an_idle_fleet_is_told() -> None:
    """Requests that hardly ever meet say that lower rates change nothing."""
    run = SteadyRun(1.0, 0, 1000)
    idle = replication(run, np.full(800, 0.5), residences=1e6)
    assert judged(Replications((idle, idle)), LIMITS).is_idle
    assert not judged(Replications((replication(run, np.full(800, 0.5)),) * 2), LIMITS).is_idle
