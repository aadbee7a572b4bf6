"""Circuit breakers: a replica that fails often gets no requests for a while.

Source: sgl-router 083d6013.  Closed: requests pass; after ``failure_threshold`` failures within ``window_s``, with no
success between them, it opens.  Open: none pass for ``open_s``.  Half open: requests pass; ``success_threshold``
successes in a row close it, one failure opens it again.
"""

from collections import deque
from enum import IntEnum

from pydantic import Field

from cluster_sim.options import LONGEST_RUN_S, ConfigModel
from cluster_sim.units import NS_PER_S


class CircuitBreakerOptions(ConfigModel):
    """A breaker for each replica, driven by how its attempts end."""

    failure_threshold: int = Field(10, ge=1, le=1_000_000, description="Failures that open it.")
    window_s: float = Field(120.0, gt=0, le=LONGEST_RUN_S, description="Time within which they must lie.")
    consecutive: bool = Field(True, description="Whether a success in between makes the failures before it void.")
    open_s: float = Field(60.0, gt=0, le=LONGEST_RUN_S, description="Time that it stays open before it is tried again.")
    success_threshold: int = Field(3, ge=1, le=1_000_000, description="Successes in a row that close it then.")

    @property
    def window_ns(self) -> int:
        """The window in ns."""
        return round(self.window_s * NS_PER_S)

    @property
    def open_ns(self) -> int:
        """The time that it stays open in ns."""
        return round(self.open_s * NS_PER_S)


class BreakerState(IntEnum):
    """The states of a breaker."""

    CLOSED = 0
    OPEN = 1
    HALF_OPEN = 2


class CircuitBreaker:
    """The breaker of one replica; whoever owns it calls ``half_open`` when ``opens_until_ns`` has come."""

    def __init__(self, options: CircuitBreakerOptions) -> None:
        self._options = options
        self.state = BreakerState.CLOSED
        self.open_until_ns = 0
        """When it becomes half open, while it is open."""
        self._failures_ns: deque[int] = deque(maxlen=options.failure_threshold)
        self._successes = 0

    def on_failure(self, now_ns: int) -> bool:
        """Take in a failed attempt; return whether that opens the breaker."""
        if self.state == BreakerState.OPEN:
            return False
        self._failures_ns.append(now_ns)
        failures = self._failures_ns
        is_often = len(failures) == self._options.failure_threshold and now_ns - failures[0] <= self._options.window_ns
        if self.state == BreakerState.HALF_OPEN or is_often:
            self.state = BreakerState.OPEN
            self.open_until_ns = now_ns + self._options.open_ns
            failures.clear()
            return True
        return False

    def on_success(self) -> None:
        """Take in an attempt that was served."""
        if self._options.consecutive:
            self._failures_ns.clear()
        if self.state == BreakerState.HALF_OPEN:
            self._successes += 1
            if self._successes >= self._options.success_threshold:
                self.state = BreakerState.CLOSED
                self._failures_ns.clear()

    def half_open(self) -> None:
        """Let requests pass again, on trial."""
        assert self.state == BreakerState.OPEN
        self.state = BreakerState.HALF_OPEN
        self._successes = 0
