"""Flow control as a component of the hub: arrivals wait, pass or are turned away; waiting requests are sent later.

Queues are looked at whenever what their detector measures may have changed: after an attempt has ended, when a replica
takes requests again, and, for a detector that reads samples, each time that new ones become visible.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from cluster_sim.engine.hub_interface import Send
from cluster_sim.engine.instant import NEVER, Kind
from cluster_sim.engine.observation import Observation
from cluster_sim.recording.reasons import QUEUE_TIMEOUT, RATE_LIMIT
from cluster_sim.recording.statuses import SHED
from cluster_sim.routing.admission import NOBODY
from cluster_sim.routing.component import PASSES, SEQUENTIAL, WAITS, Gate, HubServices, Verdict
from cluster_sim.routing.flow_control.admission_options import AdmissionOptions
from cluster_sim.routing.flow_control.flow_controller import Decision, FlowController
from cluster_sim.routing.flow_control.token_buckets import RateLimits
from cluster_sim.routing.membership import Member
from cluster_sim.routing.request_states import Attempt, RequestState, TrackedRequest
from cluster_sim.routing.routes import Route
from cluster_sim.serving.messages import Sample


class QueueExpiry(NamedTuple):
    """A request has waited in the queue for its time to live."""

    request_id: int
    queue_number: int
    """Of its place: it may have left the queue since, and come back as a retry."""


class QueueCheck(NamedTuple):
    """The queue of a route may have something to send."""

    route: int


class _RouteFlow:
    """Flow control of one route."""

    def __init__(self, index: int, route: Route, options: AdmissionOptions, seed: int) -> None:
        self.index = index
        self.route = route
        self.controller = FlowController(options, seed)
        self._joined = 0
        self.check_ns = -1
        """When its queue is looked at next, as far as that is scheduled."""
        self.scrape_ns = -1
        """When it is looked at for new samples."""
        self.take_in_positions()

    def take_in_positions(self) -> None:
        """Tell the detector of replicas that have joined."""
        while self._joined < len(self.route.targets):
            self.controller.on_join(self._joined)
            self._joined += 1


class FlowControl(Gate):
    """The gate that the ``admission`` block of a study describes."""

    def __init__(self, options: AdmissionOptions, seed: int) -> None:
        self._options = options
        self._seed = seed
        self._rates = RateLimits(options.rate_limits)
        probe = FlowController(options, seed)
        detector = probe.detector
        self.observation = SEQUENTIAL
        self._period_ns = self._latency_ns = 0
        if detector is not None and detector.sampled_fields:
            self._period_ns, self._latency_ns = detector.period_ns, detector.latency_ns
            self.observation = Observation(
                responses=True,
                reacts=True,
                gates=True,
                telemetry=True,
                period_ns=detector.period_ns,
                latency_ns=detector.latency_ns,
                sampled_fields=frozenset(detector.sampled_fields),
            )
        self._flows: list[_RouteFlow] = []

    def start(self, hub: HubServices) -> None:
        """Build the queues of every route."""
        super().start(hub)
        routes = list(dict.fromkeys(hub.routes.values()))
        self._flows = [_RouteFlow(index, route, self._options, self._seed) for index, route in enumerate(routes)]
        self._flow_of = {flow.route: flow for flow in self._flows}
        hub.membership.freed.append(self._on_freed)

    def handlers(self) -> Mapping[type, Callable[[Any, int], list[Send]]]:
        return {QueueExpiry: self._on_expiry, QueueCheck: self._on_check}

    # ------------------------------------------------------------------------------------------------------- arrivals

    def offer(self, tracked: TrackedRequest, now_ns: int) -> Verdict:
        request = tracked.request
        route = self.hub.routes.get(request.attributes.model)
        if route is None or route.admission.eligible(request) is NOBODY:
            return PASSES  # The router refuses it.
        is_retry = tracked.last is not None
        if not is_retry and not self._rates.try_take(request, now_ns):
            return Verdict(passes=False, status=SHED, reason=RATE_LIMIT)
        flow = self._flow_of[route]
        flow.take_in_positions()
        answer = flow.controller.offer(request, route.available, now_ns, is_retry=is_retry)
        if answer.decision == Decision.PASS:
            return PASSES
        if answer.decision == Decision.SHED:
            return Verdict(passes=False, status=SHED, reason=answer.reason)
        queued = answer.queued
        assert queued is not None
        tracked.state = RequestState.QUEUED
        if queued.expires_ns < NEVER:
            expiry = QueueExpiry(request.request_id, queued.number)
            self.hub.events.schedule(queued.expires_ns, Kind.TIMER, request.request_id, expiry, is_background=True)
        self._await_scrape(flow, now_ns)
        return WAITS

    def narrow(
        self, tracked: TrackedRequest, route: Route, eligible: Sequence[int] | None, now_ns: int
    ) -> Sequence[int] | None:
        flow = self._flow_of[route]
        flow.take_in_positions()
        return flow.controller.spared(route.available if eligible is None else eligible, now_ns)

    # --------------------------------------------------------------------------------------------------- the queue

    def _check_soon(self, flow: _RouteFlow) -> None:
        """Look at a queue in the next global schedule, if something waits."""
        at_ns = self.hub.next_schedule_ns()
        if len(flow.controller.queues) and flow.check_ns != at_ns:
            flow.check_ns = at_ns
            self.hub.events.schedule(
                at_ns, Kind.GLOBAL_SCHEDULE, -1 - flow.index, QueueCheck(flow.index), is_background=True
            )

    def _await_scrape(self, flow: _RouteFlow, now_ns: int) -> None:
        """Look at a queue when the next samples become visible, if its detector reads any."""
        if not self._period_ns or flow.scrape_ns > now_ns:
            return
        periods = (now_ns - self._latency_ns) // self._period_ns + 1
        flow.scrape_ns = periods * self._period_ns + self._latency_ns
        check = QueueCheck(flow.index)
        self.hub.events.schedule(flow.scrape_ns, Kind.GLOBAL_SCHEDULE, -1 - flow.index, check, is_background=True)

    def _on_check(self, event: QueueCheck, now_ns: int) -> list[Send]:
        flow = self._flows[event.route]
        flow.check_ns = -1
        flow.take_in_positions()
        controller, route, sends = flow.controller, flow.route, []
        while (request := controller.next_request(route.available, now_ns)) is not None:
            sends += self.hub.route(self.hub.requests[request.request_id], now_ns)
        if len(controller.queues):
            self._await_scrape(flow, now_ns)
        return sends

    def _on_expiry(self, event: QueueExpiry, now_ns: int) -> list[Send]:
        tracked = self.hub.requests.get(event.request_id)
        if tracked is None:
            return []
        queues = self._flow_of[self.hub.routes[tracked.request.attributes.model]].controller.queues
        if queues.number_of(event.request_id) != event.queue_number:
            return []
        queues.remove(event.request_id)
        return self.hub.end_request(tracked, tracked.row(SHED, now_ns, QUEUE_TIMEOUT), now_ns)

    # -------------------------------------------------------------------------------------------------------- notices

    def on_opened(self, tracked: TrackedRequest, attempt: Attempt, now_ns: int) -> None:
        self._flow_of[attempt.route].controller.on_dispatch(attempt.position, tracked.request)

    def on_closed(self, tracked: TrackedRequest, attempt: Attempt, now_ns: int) -> None:
        flow = self._flow_of[attempt.route]
        flow.controller.on_end(attempt.position, tracked.request)
        self._check_soon(flow)

    def on_end(self, tracked: TrackedRequest, now_ns: int) -> list[Send]:
        route = self.hub.routes.get(tracked.request.attributes.model)
        if route is None:
            return []
        flow = self._flow_of[route]
        flow.controller.queues.remove(tracked.request.request_id)
        row = tracked.end
        if row.first_token_ns >= 0 and row.dispatch_ns >= 0:
            flow.controller.note_first_token(row.first_token_ns - row.dispatch_ns)
        return []

    def on_sample(self, member: Member, sample: Sample, now_ns: int) -> None:
        detector = self._flow_of[member.route].controller.detector
        if detector is not None and detector.sampled_fields:
            self._flow_of[member.route].take_in_positions()
            for position in member.positions:
                detector.on_sample(position, sample)

    def on_silence(self, member: Member, since_ns: int) -> None:
        flow = self._flow_of[member.route]
        detector = flow.controller.detector
        if detector is None:
            return
        flow.take_in_positions()
        for position in member.positions:
            detector.on_silence(position, since_ns)
        if since_ns < 0:
            self._check_soon(flow)

    def _on_freed(self, number: int) -> None:
        self._check_soon(self._flow_of[self.hub.membership[number].route])
