"""Health checks by hand, and against probes that are simulated one by one."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cluster_sim.routing.recovery.health_checks import HealthOptions, Outage, Verdict, outages_of, verdicts
from cluster_sim.serving.lives.intervals import FOREVER_NS, Interval

S = 1_000_000_000
MS = 1_000_000


def split(outages: Iterable[Outage]) -> tuple[list[Interval], list[Interval]]:
    """Return the times in which a replica is down, and those in which it is silent."""
    down = [Interval(outage.start_ns, outage.end_ns) for outage in outages if not outage.is_silent]
    return down, [Interval(outage.start_ns, outage.end_ns) for outage in outages if outage.is_silent]


def found(options: dict[str, Any], *outages: Outage, forward_ns: int = 0, return_ns: int = 0) -> list[tuple[int, bool]]:
    health = HealthOptions.model_validate(options)
    return [tuple(verdict) for verdict in verdicts(health, *split(outages), 0, forward_ns, return_ns)]


def test_a_crash_is_found_after_three_refused_probes() -> None:
    """Down from 70 to 200 s, probes each 60 s: refused at 120 and 180 only, so SGLang's defaults never find it."""
    assert found({}, Outage(70 * S, 200 * S, False)) == []
    # Down until 250 s: refused at 120, 180 and 240 s; good again at 300 and 360 s.
    assert found({}, Outage(70 * S, 250 * S, False)) == [(240 * S, False), (360 * S, True)]


def test_links_count() -> None:
    """A probe sent at 120 s arrives 1 s later, and its refusal 2 s after that."""
    outage = Outage(120 * S + MS, 250 * S, False)
    assert found({"failure_threshold": 1}, outage, forward_ns=S, return_ns=2 * S) == [(123 * S, False), (363 * S, True)]


def test_a_hang_is_found_by_time_outs() -> None:
    """Silent from 70 to 250 s: probes of 120, 180 and 240 s time out after 5 s; those of 300 and 360 s are good."""
    assert found({}, Outage(70 * S, 250 * S, True)) == [(245 * S, False), (360 * S, True)]


def test_a_probe_that_waits_out_a_short_hang_is_good() -> None:
    """Silent from 59 to 63 s: the probe of 60 s is answered at 63 s, within its 5 s."""
    assert found({"failure_threshold": 1}, Outage(59 * S, 63 * S, True)) == []
    assert found({"failure_threshold": 1}, Outage(59 * S, 66 * S, True)) == [(65 * S, False), (180 * S, True)]


def test_an_outage_without_end() -> None:
    """A replica that stays down stays unhealthy."""
    assert found({}, Outage(0, FOREVER_NS, False)) == [(120 * S, False)]


def test_kubernetes_is_told_of_crashes() -> None:
    """The platform's notice comes 1 s after the crash and the restart; a hang is left to the probes."""
    options = {"period_s": 10, "timeout_s": 1, "success_threshold": 1, "crash_notice_s": 1}
    crash, hang = Outage(5 * S, 30 * S, False), Outage(41 * S, 90 * S, True)
    assert found(options, crash, hang) == [(6 * S, False), (31 * S, True), (71 * S, False), (90 * S, True)]
    assert found(options, Outage(5 * S, FOREVER_NS, False)) == [(6 * S, False)]
    assert found(options, Outage(5 * S, 5 * S + MS, False)) == []


def one_by_one(options: HealthOptions, outages: list[Outage], forward_ns: int, return_ns: int) -> list[Verdict]:
    """Return the verdicts of 400 probes, each asked of all outages."""
    is_healthy, failures, successes, changes = True, 0, 0, []
    for probe in range(400):
        sent_ns = probe * options.period_ns
        arrival_ns = sent_ns + forward_ns
        outage = next((out for out in outages if out.start_ns <= arrival_ns < out.end_ns), None)
        answer_ns = arrival_ns + return_ns
        is_good = outage is None
        if outage is not None and outage.is_silent:
            answer_ns = outage.end_ns + return_ns
            is_good = answer_ns <= sent_ns + options.timeout_ns
        known_ns = answer_ns if is_good else min(answer_ns, sent_ns + options.timeout_ns)
        failures, successes = (0, successes + 1) if is_good else (failures + 1, 0)
        if is_healthy and failures == options.failure_threshold:
            is_healthy = False
            changes.append(Verdict(known_ns, False))
        elif not is_healthy and successes == options.success_threshold:
            is_healthy = True
            changes.append(Verdict(known_ns, True))
    return changes


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 40), st.booleans()), max_size=6),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(1, 10),
    st.integers(0, 3),
    st.integers(0, 3),
)
def test_verdicts_equal_those_of_single_probes(
    spans: list[tuple[int, int, bool]], bad: int, good: int, timeout: int, forward_s: int, return_s: int
) -> None:
    """Skipping good probes changes nothing."""
    options = HealthOptions(period_s=10, timeout_s=timeout, failure_threshold=bad, success_threshold=good)
    outages, at_s = [], 0
    for gap, length, is_silent in spans:
        outages.append(Outage((at_s + gap) * S, (at_s + gap + length) * S, is_silent))
        at_s += gap + length
    ways = forward_s * S, return_s * S
    assert list(verdicts(options, *split(outages), 0, *ways)) == one_by_one(options, outages, *ways)


def test_a_time_out_longer_than_the_period_is_refused() -> None:
    """Two probes of a replica are never under way together."""
    with pytest.raises(ValidationError, match="timeout_s: 5 is above period_s: 1"):
        HealthOptions(period_s=1)


def test_a_lost_link_hides_that_a_replica_is_down() -> None:
    """Down from 10 to 20 and from 25 to 40 s, silent from 15 to 30 s: refused, silent, refused."""
    down, silent = [Interval(10, 20), Interval(25, 40)], [Interval(15, 30), Interval(50, 60)]
    expected = [(10, 15, False), (15, 30, True), (30, 40, False), (50, 60, True)]
    assert [tuple(outage) for outage in outages_of(down, silent)] == expected
