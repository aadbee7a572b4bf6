"""Failures of attempts as a router sees them."""

from enum import StrEnum
from typing import Final, NamedTuple

from cluster_sim.recording.reasons import ATTEMPT_TIMEOUT, CRASH, DRAINED, NO_REPLICA, UNREACHABLE


class FailureKind(StrEnum):
    """The ways in which an attempt fails."""

    REFUSED = "refused"
    """Connection refused: the replica was down when the request came.  The router knows at once."""
    RESET = "reset"
    """Connection reset: the replica went down with the request.  The router knows at once."""
    TIMEOUT = "timeout"
    """Silence, until the router's own time-out of the attempt."""
    UNHEALTHY = "unhealthy"
    """Silence, until a health check found the replica unhealthy and the router gave its requests up."""
    REMOVED = "removed"
    """The replica was removed (drained for too long, scaled down, upgraded) before the request had ended."""
    NO_REPLICA = "no_replica"
    """No replica that could run the request was there."""


REASON_OF: Final = {
    FailureKind.REFUSED: UNREACHABLE,
    FailureKind.RESET: CRASH,
    FailureKind.TIMEOUT: ATTEMPT_TIMEOUT,
    FailureKind.UNHEALTHY: UNREACHABLE,
    FailureKind.REMOVED: DRAINED,
    FailureKind.NO_REPLICA: NO_REPLICA,
}
"""The reason of a request that ends with a failure that nothing recovers."""


class Failure(NamedTuple):
    """One failure of an attempt."""

    kind: FailureKind
    streamed_tokens: int = 0
    """Output tokens of the attempt that had reached the router; with any, the client has seen the stream begin."""
