"""Hand-over of requests between two replicas, as a component of the hub.

A request whose prompt is computed elsewhere has two attempts, one for each leg.  The connector says what follows from
what has happened (``connector_interface``); here it is done: legs are sent in global schedules, transfers share the
ports of the replicas, and whatever ends the request or one of its legs takes back what the other holds.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cluster_sim.engine.hub_interface import ANSWERED_AT_ONCE, Send
from cluster_sim.engine.instant import KIND_MASK, Kind, instant
from cluster_sim.engine.process import HUB_SOURCE, Message
from cluster_sim.hardware.interconnect.transfer_path import Place
from cluster_sim.recording.reasons import TRANSFER_FAILED, UNREACHABLE
from cluster_sim.recording.rows import RequestRow, gaps_since
from cluster_sim.routing.component import HandOver, HubServices
from cluster_sim.routing.handover.connector_interface import Action, Connector, Move, Pair, Prefill, Ready, Reserve
from cluster_sim.routing.handover.degraded_links import DegradedLinks, LinkEdge
from cluster_sim.routing.handover.moves import Moves
from cluster_sim.routing.handover.pairing import Pairing
from cluster_sim.routing.handover.transfers import TransferKey
from cluster_sim.routing.membership import DOWN, GONE
from cluster_sim.routing.policy_interface import RoutingPolicy
from cluster_sim.routing.request_states import Attempt, RequestState, TrackedRequest
from cluster_sim.routing.routes import Route
from cluster_sim.serving.handover.messages import Granted, KvReady, PrefillLeg, PrefillProgress, Release, Reservation
from cluster_sim.serving.lives.drawn_timeline import LAST_NS
from cluster_sim.serving.messages import Response


class LegDue(NamedTuple):
    """A leg of a request is to be sent."""

    request_id: int
    serial: int
    """Of the hand-over."""
    leg: str


class TransferDue(NamedTuple):
    """A transfer begins to move bytes, or ends."""

    generation: int


class HoldTimeout(NamedTuple):
    """A prefill replica has kept the blocks of a prompt for as long as it does."""

    request_id: int
    serial: int


@dataclass(slots=True)
class HandedOver:
    """One request that is handed over."""

    serial: int
    """Counts the hand-overs of the run."""
    tracked: TrackedRequest
    route: Route
    pair: Pair
    decode: int
    """Position of the decode replica."""
    decode_policy: RoutingPolicy
    prefill: Attempt
    """The attempt of the prefill leg; it stays open until the cache has been moved."""
    is_prefill_sent: bool = False
    decode_attempt: Attempt | None = None
    """None until the reservation is sent."""
    moved: list[TransferKey] = field(default_factory=list)
    """Transfers so far, also those that have ended."""
    transfer_start_ns: int = -1
    transfer_ns: int = -1
    transfer_bytes: int = 0
    scheduled_ns: int = -1
    prefilled_ns: int = -1
    restarted_ns: int = -1
    preemption_gaps_ns: tuple[int, ...] = ()
    cached_tokens: int = 0
    preemptions: int = 0
    is_released: bool = False


class PrefillDecode(HandOver):
    """Serves requests by pairs of replicas."""

    def __init__(
        self, connectors: Mapping[int, Connector], pairing: Pairing, moves: Moves, degraded: DegradedLinks
    ) -> None:
        """``connectors`` by the number of the decode pool; ``degraded`` changes the links of ``moves``."""
        self._connectors = connectors
        self._pairing = pairing
        self._moves = moves
        self.degraded = degraded
        self._open: dict[int, HandedOver] = {}
        """By the id of the request."""
        self._places: dict[int, Place] = {}
        """By the number of the replica."""
        self._serial = 0
        self._prefills = 0
        """Prompts under way to prefill replicas, or computed by them."""
        self._planned_generation = -1

    def start(self, hub: HubServices) -> None:
        """Expect the faults of links."""
        super().start(hub)
        self.degraded.start(hub)

    def branch(self, other: "PrefillDecode", at_ns: int) -> None:
        """Take other faults of links."""
        self.degraded.branch(other.degraded, at_ns)

    def handlers(self) -> Mapping[type, Callable[[Any, int], list[Send]]]:
        """Return what handles the events and messages of hand-overs."""
        return {
            LegDue: self._on_leg_due,
            TransferDue: self._on_transfer_due,
            HoldTimeout: self._on_hold_timeout,
            LinkEdge: self._on_link_edge,
            PrefillProgress: self._on_progress,
            Granted: self._on_granted,
        }

    # ---------------------------------------------------------------------------------------------------- the requests

    def begin(self, tracked: TrackedRequest, route: Route, now_ns: int) -> list[Send] | None:
        """Choose two replicas and send the first leg; or one that serves the whole request."""
        if not route.has_prefill_pools:
            return None
        request = tracked.request
        choice, decode_policy, prefill_policy = self._pairing.choose(tracked, route, self._prefills, now_ns)
        if choice.prefill < 0:
            return self.hub.dispatcher.open(tracked, route, choice.decode, decode_policy, now_ns)
        connector = self._connectors[self.hub.membership[route.targets[choice.decode].source - 1].pool]
        output_tokens = request.output_tokens - tracked.resumed_tokens
        if connector.has_first_token and output_tokens == 1:
            # The prefill replica's token is the whole answer.
            self._undo(decode_policy, choice.decode, tracked)
            return self.hub.dispatcher.open(tracked, route, choice.prefill, prefill_policy, now_ns)
        prefill = self.hub.dispatcher.open_leg(tracked, route, choice.prefill, prefill_policy, now_ns, "prefill")
        prompt_tokens = request.prompt_tokens + tracked.resumed_tokens
        pair = Pair(prompt_tokens, route.targets[choice.decode].limits.block_size)
        handed = HandedOver(self._serial, tracked, route, pair, choice.decode, decode_policy, prefill)
        self._serial += 1
        self._open[request.request_id] = handed
        return self._act(handed, connector.begin(pair), now_ns, now_ns, is_schedule=True)

    def on_response(self, tracked: TrackedRequest, attempt: Attempt, response: Response, now_ns: int) -> list[Send]:
        """End a request with the response of its decode replica."""
        request = tracked.request
        handed = self._open[request.request_id]
        prefill, target = handed.prefill, attempt.target
        row = RequestRow(
            request,
            response.status,
            target.source - 1,
            target.pool,
            prefill.dispatch_ns,
            handed.scheduled_ns,
            response.first_token_ns,
            response.finish_ns,
            handed.cached_tokens,
            handed.preemptions + response.preemptions,
            attempt.number - tracked.extra_legs,
            request.output_tokens,
            prefill_replica=prefill.target.source - 1,
            transfer_start_ns=handed.transfer_start_ns,
            transfer_ns=handed.transfer_ns,
            transfer_bytes=handed.transfer_bytes,
            attempts=attempt.number + 1,
            first_dispatch_ns=tracked.first_dispatch_ns if attempt.number > tracked.extra_legs else -1,
            prefilled_ns=handed.prefilled_ns,
            preempted_ns=response.preempted_ns,
            restarted_ns=handed.restarted_ns,
            preemption_gaps_ns=handed.preemption_gaps_ns
            + gaps_since(response.preemption_gaps_ns, response.restarted_ns),
            rank=response.rank,
        )
        return self.hub.end_request(tracked, row, now_ns)

    def on_end(self, tracked: TrackedRequest, now_ns: int) -> list[Send]:
        """Take back what a request that has ended still holds."""
        handed = self._open.pop(tracked.request.request_id, None)
        if handed is not None:
            self._give_up(handed, now_ns)
        return []

    def on_failure(self, tracked: TrackedRequest, attempt: Attempt, failure: str, now_ns: int) -> list[Send]:
        """Take the other leg back."""
        handed = self._open.pop(tracked.request.request_id, None)
        if handed is None:
            return []
        # A cancellation must not be sent back in time by an event that comes after those of its kind.
        at_ns = now_ns + (self.hub.instant & KIND_MASK >= Kind.GRANT)
        sends = [self.hub.dispatcher.cancel(tracked, other, at_ns) for other in list(tracked.open.values())]
        is_prefill = attempt.number == handed.prefill.number
        if is_prefill and handed.pair.is_prefilled and not self._is_lost(handed.prefill):
            sends.append(self._release(handed, now_ns))
        self._give_up(handed, now_ns)
        return sends

    def _is_lost(self, attempt: Attempt) -> bool:
        """Whether the router knows that a leg's replica is not there."""
        return not {DOWN, GONE}.isdisjoint(self.hub.membership[attempt.target.source - 1].blocked_by)

    def _give_up(self, handed: HandedOver, now_ns: int) -> None:
        """Forget the transfers and the choices of a hand-over; its attempts are closed."""
        for key in handed.moved:
            self._moves.transfers.abort(key, now_ns)
        self._plan_transfers()
        if handed.decode_attempt is None:
            self._undo(handed.decode_policy, handed.decode, handed.tracked)
        if handed.is_prefill_sent and not handed.pair.is_prefilled:
            self._prefills -= 1

    @staticmethod
    def _undo(policy: RoutingPolicy, position: int, tracked: TrackedRequest) -> None:
        """Tell a policy that a replica which it has chosen does not get the request."""
        if policy.observes_responses:
            policy.on_end(position, tracked.request)

    # --------------------------------------------------------------------------------------------------------- actions

    def _act(
        self, handed: HandedOver, actions: list[Action], now_ns: int, since_ns: int, *, is_schedule: bool = False
    ) -> list[Send]:
        """Do what the connector asks for after something that happened at a replica at ``since_ns``."""
        sends: list[Send] = []
        for action in actions:
            if isinstance(action, Prefill | Reserve):
                leg = "prefill" if isinstance(action, Prefill) else "decode"
                if is_schedule:
                    sends += self._send_leg(handed, leg, now_ns)
                else:
                    self._schedule_leg(handed, leg, now_ns)
            elif isinstance(action, Move):
                self._start_move(handed, action, now_ns, since_ns)
            elif isinstance(action, Ready):
                sends.append(self._ready(handed, action, now_ns))
            else:
                sends.append(self._release(handed, now_ns))
                self.hub.dispatcher.close(handed.tracked, handed.prefill, now_ns)
        return sends

    def _schedule_leg(self, handed: HandedOver, leg: str, now_ns: int) -> None:
        """Have a leg sent by the next global schedule."""
        request_id = handed.tracked.request.request_id
        time_ns = now_ns if leg == "decode" else now_ns + 1  # A grant comes after the global schedule of its time.
        self.hub.events.schedule(time_ns, Kind.GLOBAL_SCHEDULE, request_id, LegDue(request_id, handed.serial, leg))

    def _send_leg(self, handed: HandedOver, leg: str, now_ns: int) -> list[Send]:
        dispatcher, tracked = self.hub.dispatcher, handed.tracked
        if leg == "prefill":
            handed.is_prefill_sent = True
            self._prefills += 1
            return [dispatcher.send_leg(tracked, handed.prefill, now_ns, PrefillLeg)]
        attempt = dispatcher.open_leg(tracked, handed.route, handed.decode, handed.decode_policy, now_ns, "decode")
        tracked.extra_legs += 1
        handed.decode_attempt = attempt
        return [dispatcher.send_leg(tracked, attempt, now_ns, Reservation)]

    def _start_move(self, handed: HandedOver, move: Move, now_ns: int, since_ns: int) -> None:
        """Start a transfer that the decode replica has been able to take since ``since_ns``."""
        attempt = handed.decode_attempt
        assert attempt is not None
        places = self._place(handed.prefill), self._place(attempt)
        key = TransferKey(handed.tracked.request.request_id, attempt.number, len(handed.moved))
        handed.moved.append(key)
        if handed.transfer_start_ns < 0:
            handed.transfer_start_ns = since_ns
        early_ns = now_ns - since_ns + attempt.target.forward_ns
        options = self._connector(handed).options
        moved = self._moves.start(key, move, places, options, now_ns, early_ns=early_ns)
        handed.transfer_bytes += moved
        self.moved_bytes = (self.moved_bytes or 0) + moved
        self._plan_transfers()

    def _place(self, attempt: Attempt) -> Place:
        """Return where the replica of a leg stands."""
        number = attempt.target.source - 1
        place = self._places.get(number)
        if place is None:
            pool = self.hub.membership[number].pool
            ordinal = sum(member.pool == pool and member.number < number for member in self.hub.membership)
            place = self._places[number] = Place(number, pool, ordinal)
        return place

    def _ready(self, handed: HandedOver, ready: Ready, now_ns: int) -> Send:
        attempt, request = handed.decode_attempt, handed.tracked.request
        assert attempt is not None
        target = attempt.target
        arrival_ns = now_ns + target.forward_ns
        handed.transfer_ns = arrival_ns - handed.transfer_start_ns
        handed.tracked.state = RequestState.HANDED_OVER
        payload = KvReady(request.request_id, attempt.number, ready.computed_tokens, ready.generated_tokens)
        message = Message(instant(arrival_ns, Kind.KV_READY), HUB_SOURCE, request.request_id, payload)
        # Reservations that wait there may find the prompt in the prefix cache from now on, and need fewer blocks.
        return Send(target.source, message, ANSWERED_AT_ONCE)

    def _release(self, handed: HandedOver, now_ns: int) -> Send:
        """Let go of the prompt's blocks; that may give others theirs at once."""
        handed.is_released = True
        target, request_id = handed.prefill.target, handed.tracked.request.request_id
        payload = Release(request_id, handed.prefill.number)
        message = Message(instant(now_ns + target.forward_ns, Kind.KV_READY), HUB_SOURCE, request_id, payload)
        return Send(target.source, message, ANSWERED_AT_ONCE)

    def _plan_transfers(self) -> None:
        """Schedule the next change of the transfers."""
        transfers = self._moves.transfers
        due_ns = transfers.next_ns()
        # A trickle would end after the last time of any run: like what stands still, it waits for another change.
        if 0 <= due_ns <= LAST_NS and transfers.generation != self._planned_generation:
            self._planned_generation = transfers.generation
            self.hub.events.schedule(due_ns, Kind.GRANT, 0, TransferDue(transfers.generation))

    # ---------------------------------------------------------------------------------------------------------- events

    def _connector(self, handed: HandedOver) -> Connector:
        replica = handed.route.targets[handed.decode].source - 1
        return self._connectors[self.hub.membership[replica].pool]

    def _on_leg_due(self, event: LegDue, now_ns: int) -> list[Send]:
        handed = self._open.get(event.request_id)
        if handed is None or handed.serial != event.serial:
            return []
        target = handed.route.targets[handed.decode if event.leg == "decode" else handed.prefill.position]
        if not {DOWN, GONE}.isdisjoint(self.hub.membership[target.source - 1].blocked_by):
            return self.hub.fail_attempt(handed.tracked, handed.prefill, UNREACHABLE, now_ns)
        return self._send_leg(handed, event.leg, now_ns)

    def _on_progress(self, progress: PrefillProgress, now_ns: int) -> list[Send]:
        handed = self._open.get(progress.request_id)
        if handed is None or handed.prefill.number != progress.attempt:
            return []
        since_ns = now_ns - handed.prefill.target.return_ns
        connector = self._connector(handed)
        handed.scheduled_ns, handed.cached_tokens = progress.scheduled_ns, progress.cached_tokens
        handed.preemptions, handed.restarted_ns = progress.preemptions, progress.restarted_ns
        handed.preemption_gaps_ns = progress.preemption_gaps_ns
        if not progress.is_complete:
            actions = connector.on_chunk(handed.pair, progress.computed_tokens, progress.step_ns)
            return self._act(handed, actions, now_ns, since_ns)
        self._prefills -= 1
        handed.prefilled_ns = since_ns
        request_id = progress.request_id
        timeout_ns = now_ns + connector.options.hold_timeout_ns
        timeout = HoldTimeout(request_id, handed.serial)
        self.hub.events.schedule(timeout_ns, Kind.TIMER, request_id, timeout, is_background=True)
        return self._act(handed, connector.on_prefilled(handed.pair, progress.step_ns), now_ns, since_ns)

    def _on_granted(self, granted: Granted, now_ns: int) -> list[Send]:
        handed = self._open.get(granted.request_id)
        attempt = handed.decode_attempt if handed is not None else None
        if handed is None or attempt is None or attempt.number != granted.attempt:
            return []
        actions = self._connector(handed).on_granted(handed.pair, granted.cached_tokens)
        return self._act(handed, actions, now_ns, granted.granted_ns)

    def _on_transfer_due(self, event: TransferDue, now_ns: int) -> list[Send]:
        transfers = self._moves.transfers
        if event.generation != transfers.generation:
            return []
        sends: list[Send] = []
        for key in transfers.complete(now_ns):
            handed = self._open[key.request_id]
            sends += self._act(handed, self._connector(handed).on_moved(handed.pair), now_ns, now_ns)
        self._plan_transfers()
        return sends

    def _on_link_edge(self, edge: LinkEdge, now_ns: int) -> list[Send]:
        self.degraded.on_edge(edge, now_ns)
        self._plan_transfers()
        return []

    def _on_hold_timeout(self, event: HoldTimeout, now_ns: int) -> list[Send]:
        handed = self._open.get(event.request_id)
        if handed is None or handed.serial != event.serial or handed.is_released:
            return []
        return self.hub.fail_attempt(handed.tracked, handed.prefill, TRANSFER_FAILED, now_ns)
