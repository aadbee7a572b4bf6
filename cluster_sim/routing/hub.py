"""The router: the process in the middle.

Design.  The hub owns arrivals, routing decisions, client time-outs and the books of every request.  An arrival does
nothing but queue for its own instant's global schedule, so both are one event of kind 40.  What replicas send becomes
an event only where a component observes it; otherwise it is noted and booked when nobody waits (``settle``), which is
what lets the hub's bookkeeping overlap with the replicas' work.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from cluster_sim.engine.hub import Send
from cluster_sim.engine.instant import NEVER, Instant, Kind, instant, time_of
from cluster_sim.engine.observation import Observation, strictest
from cluster_sim.engine.process import HUB_SOURCE, Message
from cluster_sim.errors import InputError
from cluster_sim.recording.request_log import RequestLog
from cluster_sim.recording.statuses import CANCELLED, REFUSED, UNFINISHED
from cluster_sim.routing.admission import StaticLimits
from cluster_sim.routing.routing_policy import RoutingPolicy
from cluster_sim.serving.messages import Cancellation, Dispatch, EndOfArrivals, Response, Sample
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.request import Request
from cluster_sim.workload.source import FeedbackSource, RequestSource


@dataclass(frozen=True, slots=True)
class Target:
    """A replica as the hub sees it."""

    source: int
    pool: str
    forward_ns: int
    fills_batches: bool = False
    """Whether it must hear when no more requests come, because it waits for them."""


@dataclass(frozen=True, slots=True)
class Route:
    """The replicas that serve one model, and the policy that chooses among them."""

    policy: RoutingPolicy
    targets: list[Target]
    limits: StaticLimits
    """What every target can run: a policy must not have to look."""


class _InFlight:
    __slots__ = ("dispatch_ns", "position", "request", "route")

    def __init__(self, request: Request, route: Route, position: int, dispatch_ns: int) -> None:
        self.request = request
        self.route = route
        self.position = position
        self.dispatch_ns = dispatch_ns


def observed_by(routes: dict[str, Route], *, reacts: bool, times_out: bool) -> Observation:
    """Return what a hub observes: its policies, its workload if that ``reacts`` to ends, clients if they time out."""
    observed = [route.policy.observation for route in routes.values()]
    if reacts:
        observed.append(Observation(responses=True, reacts=True))
    if times_out:
        observed.append(Observation(responses=True))
    return strictest(observed)


class RouterHub:
    """Routes requests and keeps their books."""

    def __init__(
        self,
        workload: RequestSource | FeedbackSource,
        routes: dict[str, Route],
        log: RequestLog,
        client_timeout_ns: int = 0,
        run_end: Instant = NEVER,
    ) -> None:
        """``routes`` by model name; the entry "" serves requests that name none.  What would reach the hub at or after
        ``run_end`` is dropped: its request stays unfinished.
        """
        self._run_end = run_end
        self._routes = routes
        self._log = log
        self._timeout_ns = client_timeout_ns
        self._feedback: FeedbackSource | None = None
        if isinstance(workload, FeedbackSource):
            self._feedback = workload
            self._chunks: Iterator[list[Request]] = workload.initial()
        else:
            self._chunks = workload.chunks()
        self.observation = observed_by(routes, reacts=self._feedback is not None, times_out=bool(client_timeout_ns))
        self._positions = {
            target.source: (route, position)
            for route in routes.values()
            for position, target in enumerate(route.targets)
        }
        self._chunk: list[Request] = []
        self._cursor = 0
        self._arrival_at: Instant = NEVER
        self._timers: list[Message] = []
        """Own events besides the workload's arrivals: time-outs, and arrivals that a feedback source caused."""
        self._heard: list[Message] = []
        """Responses and samples that are events."""
        self._backlog: list[Message] = []
        """Responses that are not booked yet."""
        self._in_flight: dict[int, _InFlight] = {}
        self.end_ns = 0
        """The latest time anything happened that a row shows."""
        self.arrived = 0
        self._next_arrival()

    # --------------------------------------------------------------------------------------------------- Hub protocol

    def next_event(self) -> Instant:
        """Return the instant of the earliest event."""
        at = self._arrival_at
        if self._timers and self._timers[0].at < at:
            at = self._timers[0].at
        if self._heard and self._heard[0].at < at:
            at = self._heard[0].at
        return at

    def next_send(self) -> Instant:
        """Return the earliest instant at which a known event may send something: responses never do by themselves
        unless a feedback source reacts, and then the coordinator asks ``next_event`` too.
        """
        if self._timers and self._timers[0].at < self._arrival_at:
            return self._timers[0].at
        return self._arrival_at

    def handle(self) -> list[Send]:
        """Handle the earliest event: notices and responses by their kinds, then time-outs, then global schedules."""
        at = self.next_event()
        if self._heard and self._heard[0].at == at:
            return self._hear(heapq.heappop(self._heard))
        if (
            self._timers
            and self._timers[0].at == at
            and (self._arrival_at != at or self._timers[0].sequence < self._chunk[self._cursor].request_id)
        ):
            timer = heapq.heappop(self._timers)
            if isinstance(timer.payload, Request):
                return self._dispatch(timer.payload, time_of(at))
            return self._time_out(timer.payload, time_of(at))
        request = self._chunk[self._cursor]
        self._next_arrival()
        sends = self._dispatch(request, time_of(at))
        if self._arrival_at >= NEVER and self._feedback is None and self._run_end >= NEVER:
            sends += self._drain(time_of(at))
        return sends

    def _drain(self, now_ns: int) -> list[Send]:
        """Tell the replicas that fill batches that the last request has been sent."""
        payload = EndOfArrivals(self.arrived)
        sends = []
        for route, position in self._positions.values():
            target = route.targets[position]
            if target.fills_batches:
                at = instant(now_ns + target.forward_ns, Kind.CANCELLATION)
                sends.append(Send(target.source, Message(at, HUB_SOURCE, self.arrived, payload), 0))
        return sends

    def absorb(self, messages: list[Message]) -> None:
        """Make events of what a component observes; note the rest."""
        if self.observation.responses:
            for message in messages:
                heapq.heappush(self._heard, message)
            return
        for message in messages:
            if isinstance(message.payload, Sample):
                heapq.heappush(self._heard, message)
            else:
                self._backlog.append(message)

    def settle(self) -> None:
        """Book the responses that nobody observed."""
        if not self._backlog:
            return
        backlog, self._backlog = self._backlog, []
        for message in backlog:
            if message.at < self._run_end:
                self._book(message.payload)

    # --------------------------------------------------------------------------------------------------------- events

    def _next_arrival(self) -> None:
        self._cursor += 1
        if self._cursor >= len(self._chunk):
            self._cursor = 0
            self._chunk = next(self._chunks, [])
            if not self._chunk:
                self._arrival_at = NEVER
                return
        self._arrival_at = instant(self._chunk[self._cursor].arrival_ns, Kind.GLOBAL_SCHEDULE)

    def _dispatch(self, request: Request, now_ns: int) -> list[Send]:
        self.arrived += 1
        route = self._routes.get(request.attributes.model)
        if route is None or not route.limits.can_run(request):
            return self._refuse(request, now_ns)
        position = route.policy.choose(request, now_ns)
        target = route.targets[position]
        self._in_flight[request.request_id] = _InFlight(request, route, position, now_ns)
        if self._timeout_ns:
            at = instant(request.arrival_ns + self._timeout_ns, Kind.TIMER)
            heapq.heappush(self._timers, Message(at, HUB_SOURCE, request.request_id, request.request_id))
        delivery = instant(now_ns + target.forward_ns, Kind.DELIVERY)
        dispatch = Dispatch(request, 0)
        message = Message(delivery, HUB_SOURCE, request.request_id, dispatch)
        return [Send(target.source, message, dispatch.fewest_batches(route.limits.tokens_per_step))]

    def _refuse(self, request: Request, now_ns: int) -> list[Send]:
        self._log.add(request, -1, "", REFUSED, -1, -1, -1, -1)
        self.end_ns = max(self.end_ns, now_ns)
        return self._react(request, now_ns, REFUSED)

    def _hear(self, message: Message) -> list[Send]:
        payload = message.payload
        if isinstance(payload, Sample):
            route, position = self._positions[message.source]
            route.policy.observe(position, payload)
            return []
        entry = self._in_flight.get(payload.request_id)
        if entry is None:
            return []  # The client had given up: its row is written, and the response is ignored.
        entry.route.policy.on_end(entry.position)
        self._book(payload)
        return self._react(entry.request, time_of(message.at), payload.status)

    def _react(self, request: Request, now_ns: int, status: str) -> list[Send]:
        if self._feedback is not None:
            for caused in self._feedback.on_end(request, now_ns, status):
                at = instant(caused.arrival_ns, Kind.GLOBAL_SCHEDULE)
                if at >= NEVER <= self._run_end:
                    raise InputError(
                        f"workload: request {caused.request_id} would arrive after {caused.arrival_ns / NS_PER_S:.3g} "
                        "s, beyond the two simulated years that a run can span; shorten think times, or set run.end_s"
                    )
                heapq.heappush(self._timers, Message(at, HUB_SOURCE, caused.request_id, caused))
        return []

    def _time_out(self, request_id: int, now_ns: int) -> list[Send]:
        entry = self._in_flight.pop(request_id, None)
        if entry is None:
            return []
        entry.route.policy.on_end(entry.position)
        target = entry.route.targets[entry.position]
        self._log.add(entry.request, target.source - 1, target.pool, CANCELLED, entry.dispatch_ns, -1, -1, now_ns)
        self.end_ns = max(self.end_ns, now_ns)
        self._react(entry.request, now_ns, CANCELLED)
        at = instant(now_ns + target.forward_ns, Kind.CANCELLATION)
        return [Send(target.source, Message(at, HUB_SOURCE, request_id, Cancellation(request_id, 0)), 0)]

    def _book(self, response: Response) -> None:
        entry = self._in_flight.pop(response.request_id)
        target = entry.route.targets[entry.position]
        _, _, status, scheduled_ns, first_token_ns, finish_ns, cached_tokens, preemptions = response
        self.end_ns = max(self.end_ns, finish_ns)
        self._log.add(
            entry.request,
            target.source - 1,
            target.pool,
            status,
            entry.dispatch_ns,
            scheduled_ns,
            first_token_ns,
            finish_ns,
            cached_tokens,
            preemptions,
        )

    def close(self) -> None:
        """Write the rows of requests that the run's end left unfinished."""
        self.settle()
        for request_id in sorted(self._in_flight):
            entry = self._in_flight[request_id]
            target = entry.route.targets[entry.position]
            self._log.add(entry.request, target.source - 1, target.pool, UNFINISHED, entry.dispatch_ns, -1, -1, -1)
        self._in_flight.clear()
        self._log.flush()

    @property
    def in_flight(self) -> int:
        """Requests dispatched and not back."""
        return len(self._in_flight)

    def in_flight_ids(self) -> list[int]:
        """Return the ids of requests dispatched and not back."""
        return sorted(self._in_flight)
