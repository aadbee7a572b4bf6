"""Tests of the strides of runs that are watched."""

from pathlib import Path

import pytest

from cluster_sim.engine.instant import Kind, instant, time_of
from cluster_sim.metrics.metrics_options import MetricsOptions
from cluster_sim.simulation.monitoring import RunMonitor
from cluster_sim.simulation.run import run_study
from cluster_sim.simulation.run_options import RunOptions
from cluster_sim.simulation.strides import FIRST_NS, Strides
from tests.small_run import small_study


def test_strides_take_about_a_pause() -> None:
    """A stride grows by what it leaves of a pause, 2 to 16 times; one that takes too long is halved."""
    strides = Strides()
    limit = instant(FIRST_NS, Kind.RUN_END)
    assert strides.limit(0, 10.0) == (limit, False)
    assert strides.limit(limit - 1, 10.0) == (limit, False)
    for now_s, seconds in ((10.125, 11), (11.25, 31), (12.75, 51), (18.75, 61), (18.75, 221)):
        assert strides.limit(limit, now_s) == (limit, True)
        strides.begin(limit, now_s, 1.25)
        limit = instant(seconds * FIRST_NS, Kind.RUN_END)
        assert strides.limit(0, now_s) == (limit, False)


def test_whoever_asks_begins_a_stride() -> None:
    """A page in the midst of a stride of 1 s, at 0.75 s, lets the next one end at 1.75 s: one collection, not two."""
    strides = Strides()
    strides.limit(0, 10.0)
    strides.begin(instant(FIRST_NS * 3 // 4, Kind.RUN_END), 10.5, 1.25)
    assert strides.limit(0, 10.5) == (instant(FIRST_NS * 7 // 4, Kind.RUN_END), False)


def test_idle_time_passes_fast() -> None:
    """A year in which nothing happens is a few dozen strides."""
    strides, reached, count = Strides(), 0, 0
    while reached < instant(365 * 86_400 * FIRST_NS, Kind.RUN_END):
        reached, _ = strides.limit(reached, 0.0)
        strides.begin(reached, 0.0, 0.1)
        count += 1
    assert count < 40


@pytest.mark.parametrize("policy", ["round_robin", "least_outstanding"])
def test_nothing_is_left_to_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str) -> None:
    """After the last request a watched run makes no stride more: the end of all work ends the watch."""
    idle: list[float] = []

    class Counting(RunMonitor):
        """Notes where the run is when nothing is left."""

        def observe(self, clock: int, counters: dict[int, object]) -> None:
            if self._hub.arrived == 150 and not self._hub.in_flight:
                idle.append(time_of(clock) / 1e9)
            super().observe(clock, counters)

    monkeypatch.setattr("cluster_sim.simulation.inline.RunMonitor", Counting)
    study = small_study(tmp_path, f"router.policy={policy}")
    options = RunOptions(executor="inline", out=tmp_path / "run", metrics=MetricsOptions(0))
    end_s = run_study(study, options).summary["simulated_s"]
    assert 1 <= len(idle) <= 3  # The stride in which the last response comes, and the loop's last rounds.
    assert idle[-1] <= end_s
