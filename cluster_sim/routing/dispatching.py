"""Dispatching: attempts opened at replicas, and closed again."""

from collections.abc import Callable
from functools import partial
from typing import Final

from cluster_sim.engine.hub_interface import ANSWERED_AT_ONCE, Send
from cluster_sim.engine.instant import KIND_BITS, Kind, instant
from cluster_sim.engine.process import HUB_SOURCE, Message
from cluster_sim.routing.policy_interface import RoutingPolicy
from cluster_sim.routing.request_states import Attempt, TrackedRequest
from cluster_sim.routing.routes import Route, Target
from cluster_sim.serving.messages import Cancellation, Dispatch

_DELIVERY: Final = Kind.DELIVERY
_new_dispatch: Final = partial(tuple.__new__, Dispatch)
_new_message: Final = partial(tuple.__new__, Message)
_new_send: Final = partial(tuple.__new__, Send)
"""What every request needs, at half the price of calling the types."""


class Dispatcher:
    """Sends requests to replicas and takes them back."""

    def __init__(self) -> None:
        self.closed: list[Callable[[TrackedRequest, Attempt, int], None]] = []
        """Whoever is told that the router no longer waits for an attempt."""
        self.frees_for_others = False
        """Whether the blocks of a request that is taken back may be granted to a reservation at once."""
        self.opened: list[Callable[[TrackedRequest, Attempt, int], None]] = []
        """Whoever is told of a new attempt."""
        self.stored: Callable[[TrackedRequest, Target, int], int] | None = None
        """Says how many tokens of a prompt the shared KV store holds for a replica; None without such a store."""

    def open(
        self, tracked: TrackedRequest, route: Route, position: int, policy: RoutingPolicy, now_ns: int
    ) -> list[Send]:
        """Send a request to the replica at a position; return the message.  ``policy`` has chosen it."""
        attempt = tracked.dispatch(route, position, policy, now_ns)
        request, target = tracked.request, attempt.target
        delivery = (now_ns + target.forward_ns) << KIND_BITS | _DELIVERY
        stored = self.stored(tracked, target, now_ns) if self.stored is not None else 0
        dispatch = _new_dispatch((request, attempt.number, tracked.resumed_tokens, stored, target.rank))
        message = _new_message((delivery, HUB_SOURCE, request.request_id, dispatch))
        if self.opened:
            for note in self.opened:
                note(tracked, attempt, now_ns)
        return [_new_send((target.source, message, dispatch.fewest_batches(target.limits.tokens_per_step)))]

    def open_leg(
        self, tracked: TrackedRequest, route: Route, position: int, policy: RoutingPolicy, now_ns: int, leg: str
    ) -> Attempt:
        """Open an attempt for a leg of a hand-over, which is sent by ``send_leg``."""
        attempt = tracked.dispatch(route, position, policy, now_ns, leg)
        for note in self.opened:
            note(tracked, attempt, now_ns)
        return attempt

    def send_leg(self, tracked: TrackedRequest, attempt: Attempt, now_ns: int, message_type: type[Dispatch]) -> Send:
        """Return the message of a leg, of a type of its own; one that wants no batch may be answered at once."""
        request, target = tracked.request, attempt.target
        stored = 0
        if self.stored is not None and attempt.leg == "prefill":
            stored = self.stored(tracked, target, now_ns)
        dispatch = message_type(request, attempt.number, tracked.resumed_tokens, stored, target.rank)
        message = Message(instant(now_ns + target.forward_ns, Kind.DELIVERY), HUB_SOURCE, request.request_id, dispatch)
        return Send(target.source, message, dispatch.fewest_batches(target.limits.tokens_per_step) or ANSWERED_AT_ONCE)

    @property
    def removal_batches(self) -> int:
        """``Send.batches`` of a message that takes a request back from its replica."""
        return ANSWERED_AT_ONCE if self.frees_for_others else 0

    def close(self, tracked: TrackedRequest, attempt: Attempt, now_ns: int) -> None:
        """Stop to wait for an attempt."""
        del tracked.open[attempt.number]
        policy = attempt.policy
        if policy.observes_responses:
            policy.on_end(attempt.position, tracked.request)
        for note in self.closed:
            note(tracked, attempt, now_ns)

    def cancel(self, tracked: TrackedRequest, attempt: Attempt, now_ns: int) -> Send:
        """Close an attempt and tell its replica."""
        self.close(tracked, attempt, now_ns)
        target, request_id = attempt.target, tracked.request.request_id
        arrival = instant(now_ns + target.forward_ns, Kind.CANCELLATION)
        cancellation = Cancellation(request_id, attempt.number)
        return Send(target.source, Message(arrival, HUB_SOURCE, request_id, cancellation), self.removal_batches)
