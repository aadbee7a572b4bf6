"""Memory of the nodes of a run: says once for each that it is nearly used up, before a process there dies of it."""

import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import ray

from actors.places import Place
from cluster_sim.simulation.memory import pressure

ASK_S: Final = 2.0
"""Wall seconds between two questions to a node."""
LOGGER: Final = logging.getLogger(__name__)


class MemoryReports:
    """Asks one actor on each node, and never waits for an answer."""

    def __init__(self, actors: Mapping[Place, Any], report: Callable[[str], None] = LOGGER.warning) -> None:
        self._actors = {place.node: (place.host, actor) for place, actor in actors.items()}
        self._asked: dict[str, Any] = {}
        """Answers that are due, by node."""
        self._asked_s = 0.0
        self._report = report

    def look(self, simulated_s: float) -> None:
        """Take the answers that have come, and ask again once it is time."""
        for node, call in list(self._asked.items()):
            if ray.wait([call], timeout=0)[0]:
                del self._asked[node]
                with contextlib.suppress(ray.exceptions.RayError):  # Its death shows elsewhere.
                    self._take(node, ray.get(call), simulated_s)
        if time.monotonic() - self._asked_s >= ASK_S:
            self._asked_s = time.monotonic()
            for node, (_, actor) in self._actors.items():
                if node not in self._asked:
                    self._asked[node] = actor.memory.remote()

    def _take(self, node: str, memory: Any, simulated_s: float) -> None:
        text = pressure(memory, simulated_s, f" of node {self._actors[node][0]}")
        if text:
            del self._actors[node]
            self._report(text)
