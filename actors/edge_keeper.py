"""Window edges at which the router waits until the state of every process has been taken."""

import queue
import threading
from collections.abc import Callable
from typing import Any, Final

WAIT_S: Final = 600.0
"""How long the router waits for the groups' states before it goes on without them."""


class EdgeKeeper:
    """The ``Keeper`` of a router's loop, which control calls of other threads ask and release."""

    def __init__(self, state: Callable[[], Any]) -> None:
        """``state`` returns the state of the hub's side."""
        self._state = state
        self._is_wanted = threading.Event()
        self._states: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._may_go_on = threading.Event()
        self._has_ended = False

    def is_due(self) -> bool:
        """Return whether somebody has asked for the state."""
        return self._is_wanted.is_set()

    def keep(self) -> None:
        """Hand over the state, and wait until the states of the other processes are taken, too."""
        self._is_wanted.clear()
        self._may_go_on.clear()
        try:
            state = self._state()
        except Exception as error:  # noqa: BLE001 - whoever has asked is told
            self._states.put(error)
            return
        self._states.put(state)
        self._may_go_on.wait(WAIT_S)

    def take(self) -> Any:
        """Return the state at the next window edge, where the loop then waits; None if the run has ended before."""
        self._is_wanted.set()
        if self._has_ended:
            return None
        state = self._states.get()
        if isinstance(state, Exception):
            raise state
        return state

    def go_on(self) -> None:
        """Let the loop go on."""
        self._may_go_on.set()

    def end(self) -> None:
        """Tell whoever asks that there are no more edges."""
        self._has_ended = True
        self._states.put(None)
