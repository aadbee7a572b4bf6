"""Sign of life of a long command: what it says at once, and how far it is whenever it has been silent for a while."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from cluster_sim.report.task_progress import time_text

SILENCE_S: Final = 10.0
"""Wall time without a line after which one is printed."""


class Heartbeat:
    """Passes lines on, and adds one of its own after each ``silence_s`` without any; a context manager.

    The lines of its own are printed by a thread: the command may be waiting for other processes.
    """

    def __init__(self, tell: Callable[[str], None], silence_s: float = SILENCE_S) -> None:
        self._tell = tell
        self._silence_s = silence_s
        self._started_s = self._told_s = time.monotonic()
        self._describe: Callable[[], str] = lambda: "reading the study and its load"
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()

    def tell(self, text: str) -> None:
        """Print a line."""
        self._told_s = time.monotonic()
        self._tell(text)

    def watch(self, describe: Callable[[], str]) -> None:
        """Say from now on what ``describe`` returns."""
        self._describe = describe

    def _beat(self) -> None:
        wait_s = self._silence_s
        while not self._is_over.wait(max(wait_s, 0.01)):
            now_s = time.monotonic()
            if now_s - self._told_s >= self._silence_s:
                try:
                    self.tell(f"{time_text(now_s - self._started_s)}: {self._describe()}")
                except OSError:  # Nobody reads any more: the command itself notices when it has something to say.
                    return
            wait_s = self._told_s + self._silence_s - time.monotonic()
