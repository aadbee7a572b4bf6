"""Live migration: requests leave a replica that still serves, because it drains or because it is busy.

The router withdraws the attempt.  One way there and one way back later it has seen the last token that the replica
streamed, and sends prompt and tokens so far to another replica, which computes them as one prompt.  An attempt whose
last token was formed by then is answered as if nothing had been.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from cluster_sim.engine.hub_interface import Send
from cluster_sim.engine.instant import Kind, instant
from cluster_sim.engine.process import HUB_SOURCE, Message
from cluster_sim.routing.component import HubComponent, HubServices
from cluster_sim.routing.membership import DRAINING
from cluster_sim.routing.recovery.migration_options import MigrationOptions
from cluster_sim.routing.recovery.rebalancing import Movable, moves
from cluster_sim.routing.request_states import Attempt, TrackedRequest
from cluster_sim.routing.routes import Route
from cluster_sim.serving.messages import Withdrawal


class RebalanceTick(NamedTuple):
    """The loads of the replicas are compared."""


class DrainMoves(NamedTuple):
    """The requests of a draining replica leave it."""

    replica: int


class MoveDue(NamedTuple):
    """The router has seen the last token of a withdrawn attempt."""

    request_id: int
    attempt: int
    destination: int
    """Source of the replica that goes on; 0: the policy chooses."""


class LiveMigration(HubComponent):
    """Moves requests as a study's ``router.migration`` says."""

    def __init__(self, options: MigrationOptions) -> None:
        self._options = options
        self._open: dict[tuple[int, int], tuple[TrackedRequest, Attempt]] = {}
        """Every attempt that the router waits for, by request id and number."""
        self._moving: set[tuple[int, int]] = set()
        """Attempts that are withdrawn."""
        self._moves: dict[int, int] = {}
        """Times that requests have moved, by id."""
        self._destinations: dict[int, int] = {}
        """Source of the replica that a request is to go to."""
        self._is_ticking = False

    def start(self, hub: HubServices) -> None:
        """Learn of replicas that drain."""
        super().start(hub)
        if self._options.on_drain:
            hub.membership.blocked.append(self._on_blocked)

    def handlers(self) -> Mapping[type, Callable[[Any, int], list[Send]]]:
        return {RebalanceTick: self._on_tick, DrainMoves: self._on_drain_moves, MoveDue: self._on_move_due}

    # --------------------------------------------------------------------------------------------------- what moves

    def _on_tick(self, _event: RebalanceTick, now_ns: int) -> list[Send]:
        """Withdraw what is to move from the busiest replicas, for each model."""
        rebalance = self._options.rebalance
        assert rebalance is not None
        self._is_ticking = False
        if not self._open:
            return []
        self._tick(now_ns)
        sends: list[Send] = []
        for route in dict.fromkeys(self.hub.routes.values()):
            loads = dict.fromkeys(route.available, 0)
            movable = []
            for (request_id, _), (tracked, attempt) in sorted(self._open.items(), key=lambda item: item[0]):
                if attempt.route is not route:
                    continue
                if attempt.position in loads:
                    loads[attempt.position] += 1
                if self._may_move(tracked, attempt, now_ns):
                    tokens = tracked.request.prompt_tokens + tracked.resumed_tokens
                    movable.append(Movable(request_id, attempt.position, tokens, attempt.dispatch_ns))
            by_id = {request_id: entry for (request_id, _), entry in self._open.items()}
            for move in moves(rebalance, loads, [one for one in movable if one.position in loads]):
                tracked, attempt = by_id[move.request_id]
                sends.append(self._withdraw(attempt, tracked, route.targets[move.destination].source, now_ns))
        return sends

    def _on_blocked(self, number: int, reason: str) -> None:
        if reason == DRAINING:
            at_ns = self.hub.next_schedule_ns()
            self.hub.events.schedule(at_ns, Kind.GLOBAL_SCHEDULE, -1, DrainMoves(number), is_background=True)

    def _on_drain_moves(self, event: DrainMoves, now_ns: int) -> list[Send]:
        leaving = [
            (tracked, attempt)
            for _, (tracked, attempt) in sorted(self._open.items(), key=lambda item: item[0])
            if attempt.target.source - 1 == event.replica
            and attempt.route.available
            and self._may_move(tracked, attempt, now_ns)
        ]
        return [self._withdraw(attempt, tracked, 0, now_ns) for tracked, attempt in leaving]

    def _may_move(self, tracked: TrackedRequest, attempt: Attempt, now_ns: int) -> bool:
        """Return whether an attempt may be withdrawn: its replica has it by then, or there would be nothing to drop."""
        options, request_id = self._options, tracked.request.request_id
        if attempt.leg or (request_id, attempt.number) in self._moving:
            return False
        tokens = tracked.request.prompt_tokens + tracked.resumed_tokens
        is_short = options.max_tokens is None or tokens <= options.max_tokens
        if self._delivery_ns(attempt, attempt.dispatch_ns, is_dispatch=True) >= self._delivery_ns(attempt, now_ns):
            return False
        return is_short and self._moves.get(request_id, 0) < options.limit

    # ---------------------------------------------------------------------------------------------------- the move

    def _delivery_ns(self, attempt: Attempt, now_ns: int, *, is_dispatch: bool = False) -> int:
        """Return when the replica of an attempt has the attempt or its withdrawal, sent at ``now_ns``."""
        if self.hub.links is None:
            return now_ns + attempt.target.forward_ns
        return self.hub.links.delivery_ns(attempt, now_ns, is_dispatch=is_dispatch)

    def _withdraw(self, attempt: Attempt, tracked: TrackedRequest, destination: int, now_ns: int) -> Send:
        hub, target, request_id = self.hub, attempt.target, tracked.request.request_id
        self._moving.add((request_id, attempt.number))
        self._moves[request_id] = self._moves.get(request_id, 0) + 1
        delivery_ns = self._delivery_ns(attempt, now_ns)
        seen_ns = delivery_ns + target.return_ns
        if hub.links is not None:
            seen_ns = hub.links.answer_ns(target.source - 1, delivery_ns, target.return_ns)
        hub.events.schedule(
            max(seen_ns, delivery_ns + 1),
            Kind.GLOBAL_SCHEDULE,
            request_id,
            MoveDue(request_id, attempt.number, destination),
            is_background=True,
            needed=instant(delivery_ns, Kind.CANCELLATION) + 1,
        )
        arrival = instant(now_ns + target.forward_ns, Kind.CANCELLATION)
        message = Message(arrival, HUB_SOURCE, request_id, Withdrawal(request_id, attempt.number))
        return Send(target.source, message, hub.dispatcher.removal_batches)

    def _on_move_due(self, event: MoveDue, now_ns: int) -> list[Send]:
        request_id, number, destination = event
        hub, tracked = self.hub, self.hub.requests.get(request_id)
        attempt = None if tracked is None else tracked.open.get(number)
        departure = hub.requests.departure(request_id, number)
        if tracked is None or attempt is None or departure is None:
            return []  # It has ended or failed by now, or its last token is formed.
        hub.dispatcher.close(tracked, attempt, now_ns)
        tracked.resume(departure, attempt.dispatch_ns, now_ns)
        self.migrations += 1
        hub.requests.ignore_departure(tracked, number)
        if destination:
            self._destinations[request_id] = destination
        sends = hub.route(tracked, now_ns)
        self._destinations.pop(request_id, None)
        return sends

    def narrow(
        self, tracked: TrackedRequest, route: Route, eligible: Sequence[int] | None, now_ns: int
    ) -> Sequence[int] | None:
        destination = self._destinations.get(tracked.request.request_id)
        if destination is None:
            return eligible
        positions = range(len(route.targets)) if eligible is None else eligible
        return [position for position in positions if route.targets[position].source == destination] or eligible

    # ------------------------------------------------------------------------------------------------------- notices

    def on_opened(self, tracked: TrackedRequest, attempt: Attempt, now_ns: int) -> None:
        self._open[tracked.request.request_id, attempt.number] = tracked, attempt
        if self._options.rebalance is not None and not self._is_ticking:
            self._tick(now_ns)

    def _tick(self, now_ns: int) -> None:
        """Compare loads at the next multiple of the period."""
        rebalance = self._options.rebalance
        assert rebalance is not None
        self._is_ticking = True
        at_ns = (now_ns // rebalance.period_ns + 1) * rebalance.period_ns
        self.hub.events.schedule(at_ns, Kind.GLOBAL_SCHEDULE, -1, RebalanceTick(), is_background=True)

    def on_closed(self, tracked: TrackedRequest, attempt: Attempt, now_ns: int) -> None:
        key = tracked.request.request_id, attempt.number
        self._open.pop(key, None)
        self._moving.discard(key)

    def on_end(self, tracked: TrackedRequest, now_ns: int) -> list[Send]:
        self._moves.pop(tracked.request.request_id, None)
        return []
