"""Failures of attempts as a router sees them, by the reason that a request which nothing recovers ends with."""

from typing import Final, Literal, NamedTuple

from cluster_sim.recording.reasons import ATTEMPT_TIMEOUT, CRASH, DRAINED, NO_REPLICA, TRANSFER_FAILED, UNREACHABLE

FailureName = Literal["unreachable", "crash", "attempt_timeout", "transfer_failed", "drained", "no_replica"]

FAILURES: Final[tuple[FailureName, ...]] = (
    "unreachable",
    "crash",
    "attempt_timeout",
    "transfer_failed",
    "drained",
    "no_replica",
)
"""The replica is down and refuses, or was found unhealthy; it went down with the request; it is silent until the
router's own time-out; a cache was not handed over; the replica was removed; none was there.
"""
assert set(FAILURES) == {UNREACHABLE, CRASH, ATTEMPT_TIMEOUT, TRANSFER_FAILED, DRAINED, NO_REPLICA}


class Failure(NamedTuple):
    """One failure of an attempt."""

    reason: str
    """One of ``FAILURES``."""
    streamed_tokens: int = 0
    """Output tokens that had reached the router by then; with any, the client has seen the stream begin."""
