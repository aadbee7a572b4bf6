"""Tests of live snapshots and their feed."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from cluster_sim.metrics.live import EngineMembers, GenerationMeter, SpeedMeter, TrafficLive, opening_snapshot
from cluster_sim.metrics.live_feed import FRESH_S, LiveFeed, LiveSource, Published
from cluster_sim.metrics.live_figures import FIGURES, EngineFigures, idle_figures
from cluster_sim.metrics.live_progress import counts_of
from cluster_sim.metrics.metrics_options import MetricsOptions
from cluster_sim.metrics.seen_file import SEEN_FILE, write_seen
from cluster_sim.simulation.live_metrics import LiveMetrics


def test_speed_is_measured_over_a_window() -> None:
    """The speed-up is that of the last ten wall seconds, not of the whole run."""
    meter = SpeedMeter(window_s=10.0)
    assert meter.measure(0.0, 0.0) == 0.0
    assert meter.measure(10.0, 1000.0) == 100.0
    assert meter.measure(20.0, 1010.0) == 1.0


def test_generation_is_measured_between_snapshots() -> None:
    """Tokens per simulated second since the last look; without a step of the clock the last figure stays."""
    meter = GenerationMeter()
    figures = idle_figures(2)
    assert meter.measure(0.0, EngineFigures(figures)).tolist() == [0.0, 0.0]
    figures[:, FIGURES["generated_tokens"]] = [10, 30]
    assert meter.measure(2.0, EngineFigures(figures)).tolist() == [5.0, 15.0]
    assert meter.measure(2.0, EngineFigures(np.concatenate([figures, idle_figures(1)]))).tolist() == [5.0, 15.0, 0.0]


@pytest.fixture
def snapshot(finished_run):
    return opening_snapshot(finished_run.metadata, finished_run.totals, EngineMembers(finished_run.metadata))


def test_snapshots_are_made_when_somebody_asks(snapshot) -> None:
    """Nobody asks for nothing; a reader of an aged snapshot asks, and gets the newer one."""
    now = [100.0]
    feed = LiveFeed(lambda: now[0])
    feed.publish(snapshot)
    assert not feed.is_asked
    assert feed.latest() == Published(0, snapshot)
    assert feed.latest(0) is None
    now[0] += FRESH_S + 0.01
    answers: list[Published | None] = []
    reader = threading.Thread(target=lambda: answers.append(feed.latest()))
    reader.start()
    while not feed.is_asked:
        pass
    feed.publish(snapshot)
    reader.join()
    assert answers == [Published(1, snapshot)]


def test_snapshots_take_a_share_of_the_run(snapshot) -> None:
    """A snapshot and its page that cost 60 ms keep the next one away for 3 s: together they take 2 % of the run."""
    now = [100.0]
    feed = LiveFeed(lambda: now[0])
    feed.publish(snapshot, cost_s=0.03)
    feed.charge(0.03)
    feed._is_asked = True
    now[0] += 2.9
    assert not feed.is_asked
    now[0] += 0.2
    assert feed.is_asked


def test_resumed_run_lets_no_counter_fall(snapshot) -> None:
    """Below the time of which the last scrape told, nothing is served; the end of the run is in any case."""
    feed = LiveFeed()
    feed.floor_s = 5.0
    feed.publish(snapshot)
    assert feed._latest is None
    feed.publish(replace(snapshot, simulated_s=5.0))
    feed.publish(replace(snapshot, simulated_s=4.0))
    assert feed.latest().snapshot.simulated_s == 5.0
    feed.publish(replace(snapshot, simulated_s=4.5), is_last=True)
    assert feed.latest().snapshot.simulated_s == 4.5


def test_resumed_run_shows_no_less_than_the_process_before(snapshot) -> None:
    """At one simulated time replicas may have done less, by other windows: nothing is shown until no count falls."""
    feed = LiveFeed()
    more = replace(snapshot, arrived=snapshot.arrived + 2)
    feed.floor_s, feed.least_counts = snapshot.simulated_s, counts_of(more)
    feed.publish(replace(snapshot, simulated_s=snapshot.simulated_s + 1))
    assert feed._latest is None
    feed.publish(replace(more, simulated_s=snapshot.simulated_s + 2))
    assert feed.latest().snapshot.arrived == more.arrived
    feed.publish(replace(snapshot, simulated_s=snapshot.simulated_s + 3))
    assert feed.latest().snapshot.simulated_s == snapshot.simulated_s + 3


def test_what_was_shown_is_kept_for_the_next_process(finished_run, snapshot, tmp_path) -> None:
    """A resumed run begins with the time, the work and the counts of the last page that was read; a damaged note is as
    none.
    """

    def begun(*, resumes: bool) -> LiveMetrics:
        return LiveMetrics(finished_run.metadata, "run", {}, MetricsOptions(port=0), tmp_path, resumes=resumes)

    shown = replace(snapshot, simulated_s=2.5, arrived=7, traffic=TrafficLive(1, 2, 3, 4))
    live = begun(resumes=False)
    write_seen(tmp_path / SEEN_FILE, shown)
    live.close()
    live = begun(resumes=True)
    feed = live.source.feed
    assert (feed.floor_s, feed.least_traffic) == (2.5, TrafficLive(1, 2, 3, 4))
    assert [one.tolist() for one in feed.least_counts] == [one.tolist() for one in counts_of(shown)]
    live.close()
    (tmp_path / SEEN_FILE).write_bytes(b"PK none")
    live = begun(resumes=True)
    assert live.source.feed.least_counts is None
    live.close()


def test_source_serves_the_finished_run_at_last(snapshot) -> None:
    """Snapshots of another process are taken while it lives; the last one has a number above all of them."""
    source = LiveSource()
    source.feed.publish(snapshot)
    source.connect(lambda known: Published(7, snapshot) if known < 7 else None)
    assert source.latest(0) == Published(1, snapshot)
    assert source.latest(1) is None
    source.finish(snapshot)
    assert source.latest(1) == Published(2, snapshot)


def test_source_lets_no_counter_fall_when_its_process_is_replaced(snapshot) -> None:
    """A new process begins its numbers again and has done less: what was served stays until it has come as far."""
    first = replace(snapshot, simulated_s=2.0, traffic=TrafficLive(78, 122, 30, 40))
    behind = replace(snapshot, simulated_s=1.0, traffic=TrafficLive(60, 100, 20, 30))
    short = replace(first, simulated_s=2.5, arrived=first.arrived - 1)
    beyond = replace(snapshot, simulated_s=3.0, traffic=TrafficLive(72, 119, 31, 41))
    source = LiveSource()
    source.connect(lambda known: Published(4, first) if known < 4 else None)
    served = source.latest()
    assert served.snapshot == first
    made = iter([Published(0, behind), Published(1, short), Published(2, beyond)])
    source.connect(lambda _known: next(made))
    assert source.latest(served.serial) is None
    assert source.latest(served.serial) is None
    newer = source.latest(served.serial)
    assert newer.serial > served.serial
    assert newer.snapshot.simulated_s == 3.0
    assert newer.snapshot.traffic == TrafficLive(78, 122, 31, 41)
