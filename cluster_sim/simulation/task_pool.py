"""Pool of independent tasks: submitted one by one while others run, answered in the order of their ends."""

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from cluster_sim.interruption import INTERRUPTION


class TaskPool(Protocol):
    """Runs tasks, possibly in parallel and on other machines."""

    @property
    def slots(self) -> int:
        """How many tasks should be submitted at a time to keep it busy."""

    def submit(self, function: Callable[[Any], Any], task: Any) -> int:
        """Hand in a call of ``function`` with ``task``; return its number."""

    def next_ended(self) -> tuple[int, Any]:
        """Wait for a task; return its number and its result, or the exception that it raised."""


class InlinePool:
    """Runs tasks in this process, each when its result is waited for."""

    slots = 1

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, Callable[[Any], Any], Any]] = deque()
        self._submitted = 0

    def submit(self, function: Callable[[Any], Any], task: Any) -> int:
        """Keep a call for later; return its number."""
        self._submitted += 1
        self._waiting.append((self._submitted, function, task))
        return self._submitted

    def next_ended(self) -> tuple[int, Any]:
        """Make the call that has waited longest; return its number and its result or exception.

        Raises KeyboardInterrupt if the command was interrupted, even where a library has caught that.
        """
        INTERRUPTION.check()
        number, function, task = self._waiting.popleft()
        try:
            return number, function(task)
        except Exception as error:  # noqa: BLE001 - whoever submitted it judges
            return number, error
