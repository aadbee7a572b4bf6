"""What the hub sends a replica."""

from typing import NamedTuple

from cluster_sim.workload.request import Request


class Dispatch(NamedTuple):
    """A request handed to a replica."""

    request: Request
    attempt: int
    """0 at first; retries count up, and a response names the attempt it answers."""


class Drain(NamedTuple):
    """No request will come any more: nothing is to be waited for.  Never acknowledged."""

    requests: int
    """How many have come, over the whole fleet."""


class Cancel(NamedTuple):
    """The client gave up: a waiting request leaves at once, a running one when a batch ends.  Never acknowledged."""

    request_id: int
    attempt: int
