"""Router hub: arrivals, routing, client time-outs, and the end of every request.

Design.  The hub handles one event at a time, by a table of handlers, one for each type of event.  Messages of replicas
become events only if a component observes them; other responses are kept, and booked when nobody waits (``settle``),
which lets the hub's bookkeeping overlap with the replicas' work.  What a plain study has no use for, such as queues,
retries, scalers and hand-overs, are components (``component.py``) with events of their own.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from cluster_sim.engine.hub_interface import Send
from cluster_sim.engine.instant import KIND_BITS, KIND_MASK, NEVER, Instant, Kind, instant, time_of
from cluster_sim.engine.observation import Grid, Observation, strictest
from cluster_sim.engine.process import HUB_SOURCE, Message
from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.recording.reasons import CLIENT_TIMEOUT, NO_MODEL, NO_REASON, NO_REPLICA
from cluster_sim.recording.request_log import RequestLog
from cluster_sim.recording.rows import RequestRow
from cluster_sim.recording.statuses import CANCELLED, FAILED, REFUSED
from cluster_sim.routing.admission import NOBODY
from cluster_sim.routing.component import Encoding, Gate, HandOver, HubComponent, Links, Recovery
from cluster_sim.routing.dispatching import Dispatcher
from cluster_sim.routing.event_list import ClientTimeout, EventList
from cluster_sim.routing.membership import Membership, PoolFacts
from cluster_sim.routing.request_states import Attempt, RequestTable, TrackedRequest
from cluster_sim.routing.routes import Route, observed_by
from cluster_sim.serving.messages import (
    SAMPLES,
    AdapterSample,
    Departure,
    EndOfArrivals,
    FirstToken,
    PrefixSample,
    Response,
    Sample,
)
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.request import Request
from cluster_sim.workload.source import FeedbackSource, RequestSource

_new_row: Final = partial(tuple.__new__, RequestRow)
"""Half the price of calling the type."""

Handler = Callable[[Any, int], list[Send]]
"""Takes an event and the time in ns; returns what it sends."""


def _read_by_schedules(observation: Observation) -> list[Grid]:
    return [grid for grid in observation.grids if grid.is_read_by_schedules]


class RouterHub:
    """Routes requests and ends them."""

    def __init__(
        self,
        workload: RequestSource | FeedbackSource,
        routes: dict[str, Route],
        log: RequestLog,
        client_timeout_ns: int = 0,
        run_end: Instant = NEVER,
        *,
        components: Sequence[HubComponent] = (),
        pools: Sequence[PoolFacts] = (),
        seed: int = 0,
        stall_limit_ns: int = NEVER,
    ) -> None:
        """``routes`` by model name; the entry "" serves requests that name none, which are refused without it.

        What would reach the hub at or after ``run_end`` is dropped: its request stays unfinished.  ``pools`` are those
        that replicas may join.  If requests do nothing but wait at the router for ``stall_limit_ns``, the run is
        given up.
        """
        self._stall_limit_ns = stall_limit_ns
        self._progress_ns = 0
        """When a request has last ended, or another may have been under way."""
        self.seed = seed
        self.routes = routes
        self.requests = RequestTable(log)
        self.membership = Membership(pools, routes)
        self.replicas_at_start = len(list(self.membership))
        self.dispatcher = Dispatcher()
        self._run_end = run_end
        self._log = log
        self._timeout_ns = client_timeout_ns
        self.workload = workload
        self._feedback = workload if isinstance(workload, FeedbackSource) else None
        self.events = EventList(workload.initial if isinstance(workload, FeedbackSource) else workload.chunks)
        reacts = self._feedback is not None
        self.observation, self.first_observation = (
            observed_by(routes.values(), reacts=reacts, times_out=bool(client_timeout_ns), others=others)
            for others in (
                [component.observation for component in components],
                [component.first_observation for component in components],
            )
        )
        self._handlers: dict[type, Handler] = {
            Request: self._on_arrival,
            ClientTimeout: self._on_client_timeout,
            Response: self._on_response,
            FirstToken: self._on_first_token,
            Sample: self._on_sample,
            PrefixSample: self._on_prefixes,
            AdapterSample: self._on_adapters,
        }
        self._components = components
        self._gate: Gate | None = None
        self._encoding: Encoding | None = None
        self._recovery: Recovery | None = None
        self._handover: HandOver | None = None
        self._samplers: list[HubComponent] = []
        """Components that read samples."""
        self._narrowing: list[HubComponent] = []
        """Components that keep requests away from replicas."""
        for component in components:
            self._add(component)
        self._routing_grids = _read_by_schedules(self.observation)
        self._observed_types = set(self._handlers) if self.observation.responses else set(SAMPLES)
        self._unobserved: list[Message] = []
        """Responses that are not booked yet."""
        knows_end = self._feedback is None and run_end >= NEVER
        self._waiting_targets = [
            member.target for member in self.membership if member.target.fills_batches and knows_end
        ]
        """Replicas that must be told when the last request has been sent."""
        self.instant: Instant = 0
        self.links: Links | None = None
        for component in components:
            component.start(self)

    def _add(self, component: HubComponent) -> None:
        for event_type, handler in component.handlers().items():
            assert event_type not in self._handlers, f"{event_type.__name__} has two handlers"
            self._handlers[event_type] = handler
        kind = type(component)
        if kind.on_closed is not HubComponent.on_closed:
            self.dispatcher.closed.append(component.on_closed)
        if kind.on_opened is not HubComponent.on_opened:
            self.dispatcher.opened.append(component.on_opened)
        if kind.on_sample is not HubComponent.on_sample:
            self._samplers.append(component)
        if kind.narrow is not HubComponent.narrow:
            self._narrowing.append(component)
        if isinstance(component, Gate):
            self._gate = component
        elif isinstance(component, Encoding):
            self._encoding = component
        elif isinstance(component, Recovery):
            self._recovery = component
        elif isinstance(component, HandOver):
            self._handover = component
            self.dispatcher.frees_for_others = True

    def observe(self, observation: Observation) -> None:
        """Observe more than so far: a change of the router to come reads it."""
        self.observation = strictest((self.observation, observation))
        self._routing_grids = _read_by_schedules(self.observation)

    @property
    def components(self) -> Sequence[HubComponent]:
        """The components beside routing."""
        return self._components

    # --------------------------------------------------------------------------------------------------- hub protocol

    def next_event(self) -> Instant:
        """Return the instant of the earliest event."""
        return self.events.next_event()

    def next_send(self) -> Instant:
        """Return the earliest instant at which a known event may send something.

        Responses never do by themselves unless a feedback source reacts, and then the coordinator asks ``next_event``.
        """
        return self.events.next_own()

    def handle(self) -> list[Send]:
        """Handle the earliest event."""
        now, event = self.events.pop()
        self.instant = now
        sends = self._handlers[type(event)](event, now >> KIND_BITS)
        if not self._components:
            return sends
        now_ns = now >> KIND_BITS
        if not self.requests and not self.events.is_waiting:
            self.events.drop_background()
        elif now_ns - self._progress_ns > self._stall_limit_ns:
            self._check_progress(now_ns)
        return sends if self.links is None else self.links.pass_on(sends, now_ns)

    def _check_progress(self, now_ns: int) -> None:
        """Give the run up if all that is left are requests that wait at the router; raises UnfinishedError."""
        is_under_way = any(tracked.open for tracked in self.requests.values())
        if is_under_way or self.events.is_waiting:
            self._progress_ns = now_ns
            return
        waiting = self.in_flight_ids()
        since_s, limit_s = self._progress_ns / NS_PER_S, self._stall_limit_ns / NS_PER_S
        raise UnfinishedError(
            f"no request has been sent or has ended since {since_s:.3f} s simulated, and {len(waiting)} wait at "
            f"the router, the first of them {waiting[:10]}.  No replica takes them.  Limit their wait "
            "(admission.queue.time_to_live_s), keep a replica (autoscaler.min_replicas), end the run (run.end_s), or "
            f"allow more than {limit_s:g} s of it (run.stall_limit_s)"
        )

    def needed(self, event: Instant) -> Instant:
        """Return what every process must have passed before the next event is handled."""
        needed = self.events.needed()
        if event & KIND_MASK == Kind.GLOBAL_SCHEDULE:
            for grid in self._routing_grids:
                needed = max(needed, grid.needed(time_of(event)))
        return needed

    def absorb(self, messages: list[Message]) -> None:
        """Make events of what a component observes; keep the rest."""
        observed_types, observe, unobserved = self._observed_types, self.events.observe, self._unobserved
        for message in messages:
            if type(message.payload) in observed_types:
                observe(message)
            elif self._components and type(message.payload) is Departure:
                self.requests.depart(message.payload)
            else:
                unobserved.append(message)

    def settle(self) -> None:
        """Book the responses that nobody observed."""
        if not self._unobserved:
            return
        unobserved, self._unobserved = self._unobserved, []
        for message in unobserved:
            if type(message.payload) is Departure:
                self.requests.depart(message.payload)
            elif message.instant < self._run_end:
                sends = self._on_response(message.payload, message.instant >> KIND_BITS)
                assert not sends, "a component that sends at the end of requests must observe responses"

    # --------------------------------------------------------------------------------------------------------- events

    def _on_arrival(self, request: Request, now_ns: int) -> list[Send]:
        tracked = self.requests.arrive(request)
        sends = self.route(tracked, now_ns) if self._gate is None else self.submit(tracked, now_ns)
        if self._timeout_ns and request.request_id in self.requests:
            timeout = ClientTimeout(request.request_id)
            # Without the request the event is void: it keeps no run from ending.
            due_ns = request.arrival_ns + self._timeout_ns
            self.events.schedule(due_ns, Kind.TIMER, request.request_id, timeout, is_background=True)
        if self._waiting_targets and not self.events.has_arrivals:
            sends += self._end_arrivals(now_ns)
        return sends

    def _on_client_timeout(self, event: ClientTimeout, now_ns: int) -> list[Send]:
        tracked = self.requests.get(event.request_id)
        if tracked is None:
            return []
        return self.end_request(tracked, tracked.row(CANCELLED, now_ns, CLIENT_TIMEOUT), now_ns)

    def _on_response(self, response: Response, now_ns: int) -> list[Send]:
        request_id, number, status, scheduled_ns, first_token_ns, finish_ns, cached_tokens, *preempted = response
        preemptions, preempted_ns, restarted_ns, *gaps_and_rank = preempted
        tracked = self.requests.get(request_id)
        if tracked is None or (attempt := tracked.open.get(number)) is None:
            return []  # The router no longer waits for it: the client has given up.
        self.dispatcher.close(tracked, attempt, now_ns)
        if attempt.leg and self._handover is not None:
            return self._handover.on_response(tracked, attempt, response, now_ns)
        target, request = attempt.target, tracked.request
        times_ns = (attempt.dispatch_ns, scheduled_ns, first_token_ns, finish_ns)
        counts = (cached_tokens, preemptions, number - tracked.extra_legs, request.output_tokens)
        first_dispatch_ns = tracked.first_dispatch_ns if number > tracked.extra_legs else -1
        legs = (-1, -1, -1, -1, number + 1, first_dispatch_ns, -1)
        ends = (NO_REASON, *legs, preempted_ns, restarted_ns, -1, -1, -1, *gaps_and_rank)
        row = _new_row((request, status, target.source - 1, target.pool, *times_ns, *counts, *ends))
        if number and tracked.resumed_tokens:
            row = tracked.resumed(row)
        return self._end(tracked, row, now_ns)

    def _on_first_token(self, first: FirstToken, now_ns: int) -> list[Send]:
        tracked = self.requests.get(first.request_id)
        if tracked is None or (attempt := tracked.open.get(first.attempt)) is None:
            return []
        if attempt.policy.observes_first_tokens:
            attempt.policy.on_first_token(attempt.position, tracked.request)
        for component in self._components:
            component.on_first_token(tracked, attempt, now_ns)
        return []

    def _on_sample(self, sample: Sample, now_ns: int) -> list[Send]:
        member = self.membership[sample.replica]
        if sample.grid:
            grid = self.observation.grids[sample.grid - 1].name
            for component in self._components:
                component.on_grid_sample(grid, member, sample, now_ns)
            for policy in member.route.all_policies:
                for position in member.positions:
                    policy.on_grid_sample(grid, position, sample)
            return []
        shown = sample if member.ranks == 1 else sample.share(member.ranks)
        for policy in member.route.all_policies:
            for position in member.positions:
                policy.observe(position, shown)
        for component in self._samplers:
            component.on_sample(member, sample, now_ns)
        return []

    def _on_prefixes(self, sample: PrefixSample, now_ns: int) -> list[Send]:
        del now_ns
        member = self.membership[sample.replica]
        for policy in member.route.all_policies:
            for position in member.positions:
                policy.on_prefixes(position, sample)
        return []

    def _on_adapters(self, sample: AdapterSample, now_ns: int) -> list[Send]:
        del now_ns
        member = self.membership[sample.replica]
        for policy in member.route.all_policies:
            for position in member.positions:
                policy.on_adapters(position, sample)
        return []

    # ------------------------------------------------------------------------------------------------------- requests

    def submit(self, tracked: TrackedRequest, now_ns: int) -> list[Send]:
        """Route a request, by the gate if there is one."""
        if self._gate is None:
            return self.route(tracked, now_ns)
        verdict = self._gate.offer(tracked, now_ns)
        if verdict.passes:
            return self.route(tracked, now_ns)
        if not verdict.status:
            return []
        return self._end(tracked, tracked.row(verdict.status, reason=verdict.reason), now_ns)

    def route(self, tracked: TrackedRequest, now_ns: int) -> list[Send]:
        """Send a request to a replica, or refuse it: a global schedule."""
        request = tracked.request
        route = self.routes.get(request.attributes.model)
        if route is None:
            return self._refuse(tracked, NO_MODEL, now_ns)
        eligible = route.eligible(request)
        if eligible is NOBODY:
            return self._refuse(tracked, route.admission.reason(request), now_ns)
        if eligible is not None and not eligible:
            return self._fail(tracked, None, NO_REPLICA, now_ns)
        if self._encoding is not None and self._encoding.takes(tracked, now_ns):
            return []
        if route.split is not None:
            eligible = route.split_eligible(route.split, request, eligible)
        if self._narrowing:
            for component in self._narrowing:
                eligible = component.narrow(tracked, route, eligible, now_ns)
        if self._handover is not None and (sends := self._handover.begin(tracked, route, now_ns)) is not None:
            return sends
        policy = route.policy_of(request)
        return self.dispatcher.open(tracked, route, policy.choose(request, now_ns, eligible), policy, now_ns)

    def fail_attempt(self, tracked: TrackedRequest, attempt: Attempt, failure: str, now_ns: int) -> list[Send]:
        """Close an attempt that has failed: recovery goes on, or the request fails."""
        self.dispatcher.close(tracked, attempt, now_ns)
        return self._fail(tracked, attempt, failure, now_ns)

    def give_up(self, tracked: TrackedRequest, attempt: Attempt, failure: str, now_ns: int) -> list[Send]:
        """Cancel an attempt whose replica does not answer: recovery goes on, or the request fails."""
        cancellation = self.dispatcher.cancel(tracked, attempt, now_ns)
        # How far it had come is not known before the cancellation has arrived, which nobody waits for.
        self.requests.ignore_departure(tracked, attempt.number)
        return [cancellation, *self._fail(tracked, attempt, failure, now_ns)]

    def _fail(self, tracked: TrackedRequest, attempt: Attempt | None, failure: str, now_ns: int) -> list[Send]:
        sends: list[Send] = []
        if attempt is not None and attempt.leg and self._handover is not None:
            sends = self._handover.on_failure(tracked, attempt, failure, now_ns)
        if self._recovery is not None:
            return sends + self._recovery.on_failure(tracked, attempt, failure, now_ns)
        return sends + self.end_request(tracked, tracked.row(FAILED, now_ns, failure), now_ns)

    def _refuse(self, tracked: TrackedRequest, reason: str, now_ns: int) -> list[Send]:
        return self._end(tracked, tracked.row(REFUSED, reason=reason), now_ns)

    def end_request(self, tracked: TrackedRequest, row: RequestRow, now_ns: int) -> list[Send]:
        """End a request with its row, cancelling the attempts that are open."""
        sends = [self.dispatcher.cancel(tracked, attempt, now_ns) for attempt in list(tracked.open.values())]
        return sends + self._end(tracked, row, now_ns)

    def _end(self, tracked: TrackedRequest, row: RequestRow, now_ns: int) -> list[Send]:
        """End a request whose attempts are closed, and schedule the requests that this causes."""
        self.requests.end(tracked, row, now_ns)
        if self._feedback is not None:
            self._cause(row, now_ns)
        if not self._components:
            return []
        tracked.end = row
        self._progress_ns = now_ns
        return [send for component in self._components for send in component.on_end(tracked, now_ns)]

    def _cause(self, row: RequestRow, now_ns: int) -> None:
        """Schedule the requests that the end of one causes."""
        assert self._feedback is not None
        for caused in self._feedback.on_end(row.request, now_ns, row.status):
            if instant(caused.arrival_ns, Kind.GLOBAL_SCHEDULE) >= NEVER <= self._run_end:
                raise InputError(
                    f"workload: request {caused.request_id} would arrive after {caused.arrival_ns / NS_PER_S:.3g} s, "
                    "beyond the two simulated years that a run can span; shorten think times, or set run.end_s"
                )
            arrival_ns = caused.arrival_ns
            if self.instant & KIND_MASK > Kind.GLOBAL_SCHEDULE and arrival_ns == now_ns:
                arrival_ns += 1  # The global schedule of this instant is over.
            self.events.schedule(arrival_ns, Kind.GLOBAL_SCHEDULE, caused.request_id, caused)

    def note_silence(self, number: int, since_ns: int) -> None:
        """Tell every component that a replica answers no scrape from ``since_ns`` on; -1: it answers again."""
        member = self.membership[number]
        for component in self._components:
            component.on_silence(member, since_ns)

    def next_schedule_ns(self) -> int:
        """Return the earliest time for which a global schedule can be scheduled now."""
        return (self.instant >> KIND_BITS) + (self.instant & KIND_MASK > Kind.GLOBAL_SCHEDULE)

    def restart_routers(self) -> None:
        """Build every routing policy anew."""
        for route in dict.fromkeys(self.routes.values()):
            route.restart_routers()

    def _end_arrivals(self, now_ns: int) -> list[Send]:
        """Tell the replicas that fill batches that the last request has been sent."""
        arrived = self.requests.arrived
        sends = []
        for target in self._waiting_targets:
            arrival = instant(now_ns + target.forward_ns, Kind.CANCELLATION)
            sends.append(Send(target.source, Message(arrival, HUB_SOURCE, arrived, EndOfArrivals(arrived)), 0))
        return sends

    # -------------------------------------------------------------------------------------------------- end of the run

    def close(self) -> None:
        """Write the rows of requests that the run's end left unfinished."""
        self.settle()
        self.requests.close(time_of(self._run_end))
        self._log.flush()

    @property
    def joined_pools(self) -> tuple[int, ...]:
        """Pools of the replicas that have joined so far, in the order of their numbers."""
        return tuple(member.pool for member in self.membership if member.number >= self.replicas_at_start)

    @property
    def arrived(self) -> int:
        """Requests that have arrived so far."""
        return self.requests.arrived

    @property
    def moved_bytes(self) -> int | None:
        """Bytes of all transfers between replicas; None if no component makes any."""
        moved = [component.moved_bytes for component in self._components if component.moved_bytes is not None]
        return sum(moved) if moved else None

    def encoder_work(self, end_ns: int) -> tuple[int, int] | None:
        """Return (requests, ns of work) of the encoders up to the end of the run; None if there are none."""
        return None if self._encoding is None else self._encoding.work(end_ns)

    @property
    def migrated(self) -> int:
        """Times that a request went on at another replica from where it had come."""
        return sum(component.migrations for component in self._components)

    @property
    def queued(self) -> int:
        """Requests that wait here: no attempt at them is open."""
        return sum(not tracked.open for tracked in self.requests.values()) if self._components else 0

    @property
    def end_ns(self) -> int:
        """The latest time at which a request has ended."""
        return self.requests.end_ns

    @property
    def in_flight(self) -> int:
        """Requests that have arrived and not ended."""
        return len(self.requests)

    def in_flight_ids(self) -> list[int]:
        """Return the ids of requests that have arrived and not ended."""
        return sorted(self.requests)
