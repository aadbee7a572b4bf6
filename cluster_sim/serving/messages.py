"""Messages between the router and a replica: one type an event, told apart by its type alone."""

from typing import NamedTuple

from cluster_sim.workload.request import Request


class Dispatch(NamedTuple):
    """To a replica: a request handed to it."""

    request: Request
    attempt: int
    """0 at first; retries count up, and a response names the attempt that it answers."""

    def fewest_batches(self, tokens_per_step: int) -> int:
        """Return how many batches the request needs at its best: one for its prompt, then full steps."""
        return 1 - (1 - self.request.output_tokens) // tokens_per_step


class Cancellation(NamedTuple):
    """To a replica: the client gave up.

    A waiting request leaves at once, a running one when a batch ends.  Never acknowledged.
    """

    request_id: int
    attempt: int


class EndOfArrivals(NamedTuple):
    """To a replica: no request will come any more, so nothing is to be waited for.  Never acknowledged."""

    requests: int
    """How many have come, over the whole fleet."""


class Response(NamedTuple):
    """To the router: how an attempt ended, fixed when the request's last step is scheduled.

    Times are at the router, return link included; -1 where a thing never happened.
    """

    request_id: int
    attempt: int
    status: str
    """One of ``recording.statuses``."""
    scheduled_ns: int
    """First time in a scheduled batch (at the replica: no link added)."""
    first_token_ns: int
    finish_ns: int
    cached_tokens: int
    """Prompt tokens found in the prefix cache at the first admission."""
    preemptions: int


class Sample(NamedTuple):
    """To the router: the state of a replica at a sampling instant."""

    replica: int
    running: int
    waiting: int
    kv_used_ratio: float
