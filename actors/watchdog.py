"""Watchdog of a run on actors: says who is waited for while a run stands still, long before it is given up."""

import logging
from collections.abc import Callable, Sequence
from typing import Final

from actors.router_actor import RouterStatus
from cluster_sim.engine.instant import time_of
from cluster_sim.units import NS_PER_S

WARN_S: Final = 8.0
"""Wall seconds of one wait after which it is named; again each time that it has doubled."""
LOGGER: Final = logging.getLogger(__name__)


class Watchdog:
    """Names what a run waits for, once for each wait and again whenever it has doubled.

    All times are of one wall clock.  ``places`` are the nodes and processes of the groups' actors by number, ``router``
    is the router's.
    """

    def __init__(
        self,
        places: Sequence[str],
        router: str,
        report: Callable[[str], None] = LOGGER.warning,
        warn_s: float = WARN_S,
    ) -> None:
        self._places = places
        self._router = router
        self._report = report
        self._warn_s = warn_s
        self._reached = ""
        self._named: dict[str, float] = {}
        """The length of a wait at which it is named again."""

    def on_status(self, status: RouterStatus) -> None:
        """Take the router's latest answer: who owes it a reply, and for how long."""
        self._reached = f", at {time_of(status.clock) / NS_PER_S:.2f} s simulated"
        self._named.pop(self._router_name, None)
        for index in range(len(self._places)):
            waited_s = status.waits_s.get(index)
            self._look(f"group {index} on {self._places[index]}", 0.0 if waited_s is None else waited_s)

    def on_silence(self, waited_s: float) -> None:
        """Take in that the router has not answered for so long."""
        self._look(self._router_name, waited_s)

    def on_ending(self, names: Sequence[str], waited_s: float) -> None:
        """Take in that the router is done, and actors have not ended for so long."""
        self._look(", ".join(names), waited_s)

    @property
    def _router_name(self) -> str:
        return f"the router on {self._router}"

    def _look(self, name: str, waited_s: float) -> None:
        if waited_s < self._warn_s:
            self._named.pop(name, None)
        elif waited_s >= self._named.get(name, self._warn_s):
            self._named[name] = 2 * waited_s
            self._report(f"waiting for {name} for {waited_s:.0f} s{self._reached}")
