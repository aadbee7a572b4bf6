"""Router hub: arrivals, dispatch, client time-outs, and the end of every request.

Design.  The hub handles one event at a time, by a table of handlers, one for each type of event.  Messages of replicas
become events only if a component observes them; other responses are kept, and booked when nobody waits (``settle``),
which lets the hub's bookkeeping overlap with the replicas' work.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Final

from cluster_sim.engine.hub_interface import Send
from cluster_sim.engine.instant import KIND_BITS, NEVER, Instant, Kind, instant, time_of
from cluster_sim.engine.process import HUB_SOURCE, Message
from cluster_sim.errors import InputError
from cluster_sim.recording.reasons import CLIENT_TIMEOUT, NO_MODEL, NO_REASON
from cluster_sim.recording.request_log import RequestLog
from cluster_sim.recording.rows import RequestRow
from cluster_sim.recording.statuses import CANCELLED, REFUSED
from cluster_sim.routing.admission import NOBODY
from cluster_sim.routing.event_list import ClientTimeout, EventList
from cluster_sim.routing.request_states import Attempt, RequestTable, TrackedRequest
from cluster_sim.routing.routes import Route, observed_by
from cluster_sim.serving.messages import Cancellation, Departure, Dispatch, EndOfArrivals, Response, Sample
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.request import Request
from cluster_sim.workload.source import FeedbackSource, RequestSource

_DELIVERY: Final = Kind.DELIVERY
_NOT_HANDED_OVER: Final = (-1, -1, -1, -1)
"""Prefill replica, start, duration and bytes of the transfer of a request that one replica served."""
_new_row: Final = partial(tuple.__new__, RequestRow)
_new_dispatch: Final = partial(tuple.__new__, Dispatch)
_new_message: Final = partial(tuple.__new__, Message)
_new_send: Final = partial(tuple.__new__, Send)
"""What every request needs, at half the price of calling the types."""


class RouterHub:
    """Routes requests and ends them."""

    def __init__(
        self,
        workload: RequestSource | FeedbackSource,
        routes: dict[str, Route],
        log: RequestLog,
        client_timeout_ns: int = 0,
        run_end: Instant = NEVER,
    ) -> None:
        """``routes`` by model name; the entry "" serves requests that name none, which are refused without it.

        What would reach the hub at or after ``run_end`` is dropped: its request stays unfinished.
        """
        self._run_end = run_end
        self._routes = routes
        self._log = log
        self._timeout_ns = client_timeout_ns
        self._feedback = workload if isinstance(workload, FeedbackSource) else None
        self._events = EventList(workload.initial() if isinstance(workload, FeedbackSource) else workload.chunks())
        self._requests = RequestTable(log)
        reacts = self._feedback is not None
        self.observation = observed_by(routes.values(), reacts=reacts, times_out=bool(client_timeout_ns))
        self._observed_types = {Sample, Response} if self.observation.responses else {Sample}
        self._unobserved: list[Message] = []
        """Responses that are not booked yet."""
        self._places = {
            target.source - 1: (route, position)
            for route in routes.values()
            for position, target in enumerate(route.targets)
        }
        """(route, position among its targets) of every replica."""
        targets = [route.targets[position] for route, position in self._places.values()]
        knows_end = self._feedback is None and run_end >= NEVER
        self._waiting_targets = [target for target in targets if target.fills_batches and knows_end]
        """Replicas that must be told when the last request has been sent."""

    # --------------------------------------------------------------------------------------------------- hub protocol

    def next_event(self) -> Instant:
        """Return the instant of the earliest event."""
        return self._events.next_event()

    def needed(self, event: Instant) -> Instant:
        """Return the instant that every replica must have passed before the earliest event, at ``event``: none."""
        return 0

    def next_send(self) -> Instant:
        """Return the earliest instant at which a known event may send something.

        Responses never do by themselves unless a feedback source reacts, and then the coordinator asks ``next_event``.
        """
        return self._events.next_own()

    def handle(self) -> list[Send]:
        """Handle the earliest event."""
        now, event = self._events.pop()
        return self._HANDLERS[type(event)](self, event, now >> KIND_BITS)

    def absorb(self, messages: list[Message]) -> None:
        """Make events of what a component observes; keep the rest."""
        observed_types, observe, unobserved = self._observed_types, self._events.observe, self._unobserved
        for message in messages:
            if type(message.payload) in observed_types:
                observe(message)
            else:
                unobserved.append(message)

    def settle(self) -> None:
        """Book the responses that nobody observed."""
        if not self._unobserved:
            return
        unobserved, self._unobserved = self._unobserved, []
        for message in unobserved:
            if type(message.payload) is Departure:
                self._requests.depart(message.payload)
            elif message.instant < self._run_end:
                self._on_response(message.payload, message.instant >> KIND_BITS)

    # --------------------------------------------------------------------------------------------------------- events

    def _on_arrival(self, request: Request, now_ns: int) -> list[Send]:
        sends = self._route(self._requests.arrive(request), now_ns)
        if self._waiting_targets and not self._events.has_arrivals:
            sends += self._end_arrivals(now_ns)
        return sends

    def _on_client_timeout(self, event: ClientTimeout, now_ns: int) -> list[Send]:
        tracked = self._requests.get(event.request_id)
        if tracked is None:
            return []
        sends = [self._cancel(tracked, attempt, now_ns) for attempt in list(tracked.open.values())]
        self._end(tracked, tracked.row(CANCELLED, now_ns, CLIENT_TIMEOUT), now_ns)
        return sends

    def _on_response(self, response: Response, now_ns: int) -> list[Send]:
        request_id, number, status, scheduled_ns, first_token_ns, finish_ns, cached_tokens, preemptions = response
        tracked = self._requests.get(request_id)
        if tracked is None or (attempt := tracked.open.pop(number, None)) is None:
            return []  # The router no longer waits for it: the client has given up.
        policy, target = attempt.route.policy, attempt.target
        if policy.observes_responses:
            policy.on_end(attempt.position, tracked.request)
        times_ns = (attempt.dispatch_ns, scheduled_ns, first_token_ns, finish_ns)
        request = tracked.request
        counts = (cached_tokens, preemptions, number, request.output_tokens)
        ends = (NO_REASON, *_NOT_HANDED_OVER, number + 1)
        row = _new_row((request, status, target.source - 1, target.pool, *times_ns, *counts, *ends))
        self._end(tracked, row, now_ns)
        return []

    def _on_sample(self, sample: Sample, now_ns: int) -> list[Send]:
        route, position = self._places[sample.replica]
        route.policy.observe(position, sample)
        return []

    _HANDLERS: ClassVar[dict[type, Callable[["RouterHub", Any, int], list[Send]]]] = {
        Request: _on_arrival,
        ClientTimeout: _on_client_timeout,
        Response: _on_response,
        Sample: _on_sample,
    }
    """Takes an event of each type and the time in ns; returns what it sends."""

    # ------------------------------------------------------------------------------------------------------- requests

    def _route(self, tracked: TrackedRequest, now_ns: int) -> list[Send]:
        """Send a request to a replica, or refuse it: a global schedule."""
        request = tracked.request
        route = self._routes.get(request.attributes.model)
        if route is None:
            return self._refuse(tracked, NO_MODEL, now_ns)
        eligible = route.admission.eligible(request)
        if eligible is NOBODY:
            return self._refuse(tracked, route.admission.reason(request), now_ns)
        attempt = tracked.dispatch(route, route.policy.choose(request, now_ns, eligible), now_ns)
        if self._timeout_ns:
            timeout = ClientTimeout(request.request_id)
            self._events.schedule(request.arrival_ns + self._timeout_ns, Kind.TIMER, request.request_id, timeout)
        target = attempt.target
        delivery = (now_ns + target.forward_ns) << KIND_BITS | _DELIVERY
        dispatch = _new_dispatch((request, attempt.number, 0))
        message = _new_message((delivery, HUB_SOURCE, request.request_id, dispatch))
        return [_new_send((target.source, message, dispatch.fewest_batches(target.limits.tokens_per_step)))]

    def _refuse(self, tracked: TrackedRequest, reason: str, now_ns: int) -> list[Send]:
        self._end(tracked, tracked.row(REFUSED, reason=reason), now_ns)
        return []

    def _cancel(self, tracked: TrackedRequest, attempt: Attempt, now_ns: int) -> Send:
        """Close an attempt and tell its replica."""
        del tracked.open[attempt.number]
        policy = attempt.route.policy
        if policy.observes_responses:
            policy.on_end(attempt.position, tracked.request)
        target, request_id = attempt.target, tracked.request.request_id
        arrival = instant(now_ns + target.forward_ns, Kind.CANCELLATION)
        cancellation = Cancellation(request_id, attempt.number)
        return Send(target.source, Message(arrival, HUB_SOURCE, request_id, cancellation), 0)

    def _end(self, tracked: TrackedRequest, row: RequestRow, now_ns: int) -> None:
        """End a request, and schedule the requests that this causes."""
        self._requests.end(tracked, row, now_ns)
        if self._feedback is None:
            return
        for caused in self._feedback.on_end(row.request, now_ns, row.status):
            if instant(caused.arrival_ns, Kind.GLOBAL_SCHEDULE) >= NEVER <= self._run_end:
                raise InputError(
                    f"workload: request {caused.request_id} would arrive after {caused.arrival_ns / NS_PER_S:.3g} s, "
                    "beyond the two simulated years that a run can span; shorten think times, or set run.end_s"
                )
            self._events.schedule(caused.arrival_ns, Kind.GLOBAL_SCHEDULE, caused.request_id, caused)

    def _end_arrivals(self, now_ns: int) -> list[Send]:
        """Tell the replicas that fill batches that the last request has been sent."""
        arrived = self._requests.arrived
        sends = []
        for target in self._waiting_targets:
            arrival = instant(now_ns + target.forward_ns, Kind.CANCELLATION)
            sends.append(Send(target.source, Message(arrival, HUB_SOURCE, arrived, EndOfArrivals(arrived)), 0))
        return sends

    # -------------------------------------------------------------------------------------------------- end of the run

    def close(self) -> None:
        """Write the rows of requests that the run's end left unfinished."""
        self.settle()
        self._requests.close(time_of(self._run_end))
        self._log.flush()

    @property
    def arrived(self) -> int:
        """Requests that have arrived so far."""
        return self._requests.arrived

    @property
    def end_ns(self) -> int:
        """The latest time at which a request has ended."""
        return self._requests.end_ns

    @property
    def in_flight(self) -> int:
        """Requests that have arrived and not ended."""
        return len(self._requests)

    def in_flight_ids(self) -> list[int]:
        """Return the ids of requests that have arrived and not ended."""
        return sorted(self._requests)
