"""Memory of this machine, and the warning before it runs out."""

import logging

import pytest

from cluster_sim.simulation.memory import Memory, MemoryWatch, memory_now, pressure


def test_a_watch_warns_once(caplog: pytest.LogCaptureFixture) -> None:
    """It looks every two seconds of wall time, and speaks once when less than 4 % or 200 MiB are left."""
    looks = iter((Memory(10 << 30, 5 << 30), Memory(10 << 30, 300 << 20)))
    times = iter((0.0, 0.0, 0.0, 1.9, 2.0, 2.0))
    watch = MemoryWatch(lambda: next(looks), lambda: next(times))
    with caplog.at_level(logging.WARNING):
        for simulated_s in (1.0, 2.0, 3.5, 4.0):
            watch.look(simulated_s)
    (record,) = caplog.records
    assert record.getMessage().startswith("memory is nearly used up: 315 MB of 10.7 GB are free, at 3.50 s simulated;")


def test_memory_is_read_here() -> None:
    """The machine's own figures are plausible."""
    total, free = memory_now()
    assert total > 100 << 20
    assert 0 <= free <= total


def test_another_machine_is_named() -> None:
    """The warning for a node of a cluster says which it is; one that has enough gets none."""
    assert pressure(Memory(10 << 30, 1 << 30), 1.0, " of node a") == ""
    text = pressure(Memory(10 << 30, 100 << 20), 1.0, " of node a")
    assert text.startswith("memory of node a is nearly used up: 105 MB of 10.7 GB are free, at 1.00 s simulated; ")
