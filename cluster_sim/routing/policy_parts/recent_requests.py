"""Rates of requests that a router has sent to each candidate of late."""

from collections import deque


class RecentRequests:
    """Requests sent to each position within a window that ends now."""

    def __init__(self, size: int, window_ns: int) -> None:
        self.counts = [0] * size
        """By position, as of the last ``forget``."""
        self._window_ns = window_ns
        self._sent: deque[tuple[int, int]] = deque()

    def grow(self, size: int) -> None:
        """Add counts of 0 until there are ``size``."""
        self.counts += [0] * (size - len(self.counts))

    def forget(self, now_ns: int) -> None:
        """Drop what has left the window."""
        while self._sent and self._sent[0][0] <= now_ns - self._window_ns:
            self.counts[self._sent.popleft()[1]] -= 1

    def add(self, position: int, now_ns: int) -> None:
        """Count a request that is sent now."""
        self._sent.append((now_ns, position))
        self.counts[position] += 1
