"""Timelines by hand: which faults count, and what a life's clock makes of them."""

from itertools import islice, pairwise

import numpy as np
import pytest

from cluster_sim.serving.lives.drawn_timeline import DrawnFault, DrawnTimeline
from cluster_sim.serving.lives.intervals import Interval, Intervals, slowest
from cluster_sim.serving.lives.life_clock import LifeClock
from cluster_sim.serving.lives.timeline import NO_FAULTS, Crash, Timeline
from tests.copied import copied


def test_a_crash_while_dead_is_void() -> None:
    """Also at the very instant of the restart, since a crash precedes a restart."""
    timeline = Timeline(crashes=[(10, 20), (15, 30), (20, 25), (21, 40)])
    assert timeline.crash_from(0) == Crash(10, 20)
    assert timeline.crash_from(11) == Crash(21, 40)
    assert timeline.crash_from(22) is None
    assert [timeline.death_at(at) is not None for at in (9, 10, 19, 20, 21)] == [False, True, True, False, True]


def test_hangs_and_outages_are_united() -> None:
    """What touches or overlaps is one; what is sent in an outage sets out at its end."""
    timeline = Timeline(hangs=[(5, 8), (8, 10), (20, 30), (22, 25)], outages=[(3, 5), (4, 9)])
    assert list(timeline.hangs.source) == [(5, 10, 1.0), (20, 30, 1.0)]
    assert [timeline.is_hung(at) for at in (4, 5, 9, 10)] == [False, True, True, False]
    assert [timeline.passes_ns(at) for at in (2, 3, 8, 9)] == [2, 9, 9, 9]


def test_the_largest_factor_counts() -> None:
    """Overlapping slow-downs are cut into pieces."""
    pieces = list(slowest([Interval(0, 10, 2.0), Interval(4, 6, 3.0), Interval(5, 20, 1.5)]))
    assert pieces == [(0, 4, 2.0), (4, 5, 3.0), (5, 6, 3.0), (6, 10, 2.0), (10, 20, 1.5)]


@pytest.mark.parametrize("wrong", [{"crashes": [(5, 5)]}, {"hangs": [(-1, 3)]}, {"slowdowns": [(1, 2, 0.5)]}])
def test_intervals_last_and_slow_down(wrong: dict) -> None:
    """A restart follows its crash, no time is negative, and a slow-down makes nothing faster."""
    with pytest.raises(AssertionError):
        Timeline(**wrong)


def test_steps_under_faults() -> None:
    """A slow step is its factor times as long, rounded up; a hang holds it up, or its start."""
    clock = LifeClock(Timeline(slowdowns=[(10, 20, 1.5)], hangs=[(30, 40), (45, 50)]))
    assert clock.duration_ns(0, 15) == 15
    assert clock.duration_ns(10, 3) == 5
    assert clock.duration_ns(19, 3) == 5
    assert clock.duration_ns(20, 10) == 10
    assert clock.duration_ns(20, 11) == 21
    assert clock.duration_ns(35, 2) == 7
    assert clock.duration_ns(25, 12) == 27


def test_as_many_steps_as_keep_their_pace() -> None:
    """A run of steps ends with the last that starts before a change of pace, or ends by a hang or the crash."""
    steps = np.full(8, 4, np.int64)
    slow = LifeClock(Timeline(slowdowns=[(10, 22, 1.5)]))
    assert slow.fit(0, steps).tolist() == [4, 4, 4]
    assert slow.fit(12, steps).tolist() == [6, 6]
    assert len(LifeClock(Timeline(hangs=[(11, 20)])).fit(0, steps)) == 2
    assert len(LifeClock(Timeline(hangs=[(12, 20)])).fit(0, steps)) == 3
    assert len(LifeClock(Timeline(hangs=[(12, 20)])).fit(13, steps)) == 0
    assert len(LifeClock(Timeline(crashes=[(12, 20)])).fit(0, steps)) == 3
    assert len(LifeClock(Timeline(crashes=[(3, 20)])).fit(0, steps)) == 0


def test_lives_follow_each_other() -> None:
    """A replica that is there from the beginning may die at 0; one that joins, at the instant after at the earliest."""
    timeline = Timeline(crashes=[(0, 5), (9, 12)])
    clock = LifeClock(timeline)
    assert clock.crash == Crash(0, 5)
    clock.begin(5)
    assert clock.crash == Crash(9, 12)
    clock.begin(12)
    assert clock.crash is None
    assert LifeClock(timeline, 9).crash is None


def drawn(seed: int = 1, replica: int = 0, *, is_exponential: bool = True) -> DrawnTimeline:
    fault = DrawnFault("process", "crash", mtbf_ns=1000, mttr_ns=100, is_exponential=is_exponential)
    return DrawnTimeline(seed, replica, (fault,))


def crashes(timeline: Timeline, count: int) -> list[tuple[int, int]]:
    return [(crash.start_ns, crash.end_ns) for crash in islice(timeline.crashes.source, count)]


def test_fixed_times_are_the_means() -> None:
    """Failures at 1,000 ns after birth or repair, repairs of 100 ns; a replica that joins counts from there."""
    assert crashes(drawn(is_exponential=False), 3) == [(1000, 1100), (2100, 2200), (3200, 3300)]
    assert crashes(drawn(is_exponential=False).born_at(50), 2) == [(1050, 1150), (2150, 2250)]


def test_draws_depend_on_their_keys_alone() -> None:
    """Seed, replica and name tell draws apart; asking far ahead first, or after a snapshot, changes nothing."""
    first = crashes(drawn(), 50)
    late = drawn()
    assert late.crash_from(first[40][0]) == first[40]
    assert late.crash_from(0) == first[0]
    assert copied(late).crash_from(first[7][0]) == first[7]
    assert first[0] != crashes(drawn(seed=2), 1)[0] != crashes(drawn(replica=1), 1)[0] != first[0]
    assert [(start - 7, end - 7) for start, end in crashes(drawn().born_at(7), 50)] == first


def test_means_of_exponential_times() -> None:
    """Over many draws the times between failures and to repair have the means asked for, within 5 %."""
    found = crashes(drawn(), 4000)
    ups = [start - end for (_, end), (start, _) in pairwise(found)]
    downs = [end - start for start, end in found]
    assert np.mean(ups) == pytest.approx(1000, rel=0.05)
    assert np.mean(downs) == pytest.approx(100, rel=0.05)


def test_a_shared_cause_befalls_all_its_replicas() -> None:
    """A node's draws are the node's, whenever its replicas are born; scripted faults stand beside drawn ones."""
    fault = DrawnFault("node", "crash", mtbf_ns=1000, mttr_ns=100, subject="node 3")
    both = [DrawnTimeline(1, replica, (fault,)).born_at(replica) for replica in (4, 5)]
    assert crashes(both[0], 5) == crashes(both[1], 5)
    first = crashes(both[0], 1)[0]
    scripted = Timeline(crashes=[(first[0] + 1, first[0] + 2)], hangs=[(1, 2)])
    timeline = DrawnTimeline(1, 4, (fault,), scripted)
    assert crashes(timeline, 1) == [first]
    assert timeline.is_hung(1)


def test_nothing_ever_happens_by_default() -> None:
    """The default timeline is empty, and so is one whose faults begin after the last time."""
    assert not NO_FAULTS
    assert not DrawnTimeline(1, 0, (DrawnFault("x", "hang", 100, 1, is_exponential=False),), last_ns=99)
    assert not Intervals()
