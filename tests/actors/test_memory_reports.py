"""Nodes of a run whose memory is nearly used up."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from actors import memory_reports
from actors.memory_reports import MemoryReports
from actors.places import Place
from cluster_sim.simulation.memory import Memory


class Answering:
    """An actor that answers at once."""

    def __init__(self, answer: Callable[[], Memory]) -> None:
        self.asked = 0
        self._answer = answer
        self.memory = SimpleNamespace(remote=self._remote)

    def _remote(self) -> Memory:
        self.asked += 1
        return self._answer()


def test_a_node_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One actor of each node is asked every two seconds, until its node has too little, which is said."""
    now_s = [0.0]
    ray: dict[str, Any] = {"wait": lambda calls, **_: (calls, []), "get": lambda call: call}
    monkeypatch.setattr(memory_reports, "ray", SimpleNamespace(**ray, exceptions=SimpleNamespace(RayError=OSError)))
    monkeypatch.setattr(memory_reports, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    free = [5 << 30]
    low, other = Answering(lambda: Memory(10 << 30, free[0])), Answering(lambda: Memory(10 << 30, 5 << 30))
    said: list[str] = []
    actors = {Place("a", 1, "n1"): other, Place("a", 2, "n1"): low, Place("b", 3, "n2"): other}
    reports = MemoryReports(actors, said.append)
    for now_s[0] in (2.0, 3.0, 4.0):
        reports.look(1.0)
    assert (low.asked, other.asked, said) == (2, 2, [])
    free[0] = 100 << 20
    for now_s[0] in (6.0, 8.0, 10.0, 12.0):
        reports.look(2.5)
    (text,) = said
    assert text.startswith("memory of node a is nearly used up: 105 MB of 10.7 GB are free, at 2.50 s simulated; ")
    assert low.asked < other.asked
