"""Messages from the hub to a replica."""

from typing import NamedTuple

from cluster_sim.workload.request import Request


class Dispatch(NamedTuple):
    """A request handed to a replica."""

    request: Request
    attempt: int
    """0 at first; retries count up, and a response names the attempt it answers."""

    def fewest_batches(self, tokens_per_step: int) -> int:
        """Return how many batches the request needs at its best: one for its prompt, then full steps."""
        return 1 - (1 - self.request.output_tokens) // tokens_per_step


class Drain(NamedTuple):
    """No request will come any more: nothing is to be waited for.  Never acknowledged."""

    requests: int
    """How many have come, over the whole fleet."""


class Cancel(NamedTuple):
    """The client gave up: a waiting request leaves at once, a running one when a batch ends.  Never acknowledged."""

    request_id: int
    attempt: int
