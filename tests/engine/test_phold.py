"""PHOLD under every executor: the protocol changes nothing, whatever the placement and the delays."""

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster_sim.engine.instant import Instant
from cluster_sim.engine.loop import Unwatched
from tests.engine.in_memory import Choose, RandomExchange
from tests.engine.phold import Phold, PholdHub, PholdProcess, phold_codec, phold_digest
from tests.engine.phold_run import phold_reference
from tests.engine.star import run_in_groups, split


def fresh(study: Phold) -> tuple[PholdHub, list[PholdProcess]]:
    return PholdHub(study), [PholdProcess(study, index) for index in range(study.processes)]


@st.composite
def studies(draw: st.DrawFn) -> Phold:
    forward, back = draw(st.integers(0, 7)), draw(st.integers(0, 7))
    floor = draw(st.integers(1, 7))  # A service takes time: its end may not precede the delivery at its own instant.
    is_sampled = draw(st.booleans())
    period = draw(st.sampled_from((0, 1, 5, 16)))
    return Phold(
        seed=draw(st.integers(0, 1 << 30)),
        processes=draw(st.integers(1, 5)),
        balls=draw(st.integers(1, 8)),
        floor_ns=floor,
        spread_ns=draw(st.integers(0, 12)),
        delay_ns=draw(st.integers(0, 5)),
        forward_ns=forward,
        return_ns=back,
        end_ns=draw(st.integers(20, 120)),
        is_sampled=is_sampled,
        period_ns=period if is_sampled else 0,
        latency_ns=draw(st.integers(0, 6)) if is_sampled and period else 0,
        joins_ns=tuple(draw(st.lists(st.integers(1, 60), max_size=3))),
        tally_ns=draw(st.sampled_from((0, 0, 1, 7, 30))),
    )


class CountersKept(Unwatched):
    """Asks for counters now and then and holds them, as far as they have come, against the processes' own."""

    def __init__(self, processes: list[PholdProcess], choose: Choose) -> None:
        self._processes = processes
        self._choose = choose
        self._is_asking = False
        self._kept: dict[int, Any] = {}

    def wants_counters(self) -> bool:
        self._is_asking = not self._choose(3)
        return self._is_asking

    def observe(self, clock: Instant, counters: dict[int, Any]) -> None:
        self._kept.update(counters)
        if self._is_asking:
            for process in self._processes:
                assert self._kept.get(process.source, [0, 0]) == process.counters(), clock


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(study=studies(), groups=st.integers(1, 5), delays=st.integers(0, 1 << 30))
def test_random_delays_change_nothing(study: Phold, groups: int, delays: int) -> None:
    """Any placement under random delays handles the same events in the same order as one sequential program."""
    hub, processes = fresh(study)
    choose = random.Random(delays).randrange
    placed = study.links(split(study.processes, groups))
    run_in_groups(
        hub,
        processes,
        placed,
        study.run_end,
        lambda members: RandomExchange(members, phold_codec(), choose),
        lambda source: PholdProcess(study, source - 1),
    )
    assert phold_digest(hub, processes) == phold_reference(study)


@pytest.mark.parametrize("groups", [1, 2, 7])
@pytest.mark.parametrize("period_ns", [0, 25])
def test_inline_equals_sequential(groups: int, period_ns: int) -> None:
    """Direct calls of one group and of several give the sequential program's digests, with telemetry and without."""
    study = Phold(
        processes=7, balls=12, is_sampled=period_ns > 0, period_ns=period_ns, latency_ns=2 if period_ns else 0
    )
    hub, processes = fresh(study)
    coordinator = run_in_groups(hub, processes, study.links(split(study.processes, groups)), study.run_end)
    assert phold_digest(hub, processes) == phold_reference(study)
    assert hub.handled > 100
    assert coordinator.traffic.messages > 50


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(study=studies(), groups=st.integers(1, 5), delays=st.integers(0, 1 << 30))
def test_counters_are_of_one_time(study: Phold, groups: int, delays: int) -> None:
    """Whoever asks for counters gets those of every group at once, however frames are delayed, and changes nothing."""
    hub, processes = fresh(study)
    choose = random.Random(delays).randrange
    run_in_groups(
        hub,
        processes,
        study.links(split(study.processes, groups)),
        study.run_end,
        lambda members: RandomExchange(members, phold_codec(), choose),
        lambda source: PholdProcess(study, source - 1),
        CountersKept(processes, choose),
    )
    assert phold_digest(hub, processes) == phold_reference(study)
