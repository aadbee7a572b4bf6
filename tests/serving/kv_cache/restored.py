"""A replica that is thrown away at some moments and goes on as another with its state."""

from collections.abc import Callable, Iterable

from cluster_sim.engine.instant import NEVER, Kind, instant
from cluster_sim.engine.process import HUB_SOURCE, Message
from cluster_sim.serving.messages import Dispatch, Response
from cluster_sim.serving.replica import Replica
from cluster_sim.workload.request import Request


def responses_restored(
    build: Callable[[], Replica], requests: Iterable[Request], cuts_ns: Iterable[int]
) -> tuple[Replica, list[Response]]:
    """Serve all requests, restoring a new replica at each cut; return the last replica, and the responses in order."""
    replica = build()
    messages: list[Message] = []
    for request in requests:
        at = instant(request.arrival_ns, Kind.DELIVERY)
        replica.receive(Message(at, HUB_SOURCE, request.request_id, Dispatch(request, 0)))
    for cut_ns in cuts_ns:
        messages += replica.advance(instant(cut_ns, Kind.DELIVERY))
        state, replica = replica.snapshot(), build()
        replica.restore(state)
    messages += replica.advance(NEVER)
    return replica, sorted(message.payload for message in messages if isinstance(message.payload, Response))
