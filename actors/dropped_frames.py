"""Count of what strangers sent to a socket: it is dropped, and the log says so at most once a second."""

import logging
import threading
import time
from typing import Final

LOG_S: Final = 1.0
"""Least time between two lines of one socket in the log."""

_LOG: Final = logging.getLogger(__name__)


class DroppedFrames:
    """Counts the frames and connections that one socket dropped.

    Reasons are fixed texts: a line of the log never holds anything that came from outside.
    """

    def __init__(self, receiver: str) -> None:
        self.count = 0
        self._receiver = receiver
        self._logged = 0
        self._logged_s = float("-inf")
        self._lock = threading.Lock()

    def add(self, reason: str, count: int = 1) -> None:
        """Count frames or connections that were dropped for ``reason``."""
        with self._lock:
            self.count += count
            if time.monotonic() - self._logged_s >= LOG_S:
                self._log(reason)

    def close(self) -> None:
        """Log those since the last line."""
        with self._lock:
            if self.count > self._logged:
                self._log("the last before the end of the run")

    def remark(self) -> str:
        """Return the end of a message about a wait: how many were dropped, if any were."""
        verb = "was" if self.count == 1 else "were"
        return f"; {_counted(self.count)} {verb} dropped" if self.count else ""

    def _log(self, reason: str) -> None:
        _LOG.warning(
            "%s dropped %s, %d in all: %s",
            self._receiver,
            _counted(self.count - self._logged),
            self.count,
            reason,
        )
        self._logged = self.count
        self._logged_s = time.monotonic()


def _counted(count: int) -> str:
    plural = "" if count == 1 else "s"
    return f"{count} frame{plural} or connection{plural} of strangers"
