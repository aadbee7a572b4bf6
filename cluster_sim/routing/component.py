"""Components of the hub: scalers, faults, queues, retries, hand-overs, beside routing itself.

A plain study has none of them.  A component handles events and messages of its own types, schedules events, and acts
through ``HubServices``; four of them also stand in the way of requests, as a gate before their routing
(``Gate``), before prompts with media (``Encoding``), at the failure of an attempt (``Recovery``), and between prompt
and decoding (``HandOver``).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple, Protocol

from cluster_sim.engine.hub_interface import Send
from cluster_sim.engine.instant import Instant
from cluster_sim.engine.observation import Observation
from cluster_sim.recording.rows import RequestRow
from cluster_sim.routing.dispatching import Dispatcher
from cluster_sim.routing.event_list import EventList
from cluster_sim.routing.membership import Member, Membership
from cluster_sim.routing.request_states import Attempt, RequestTable, TrackedRequest
from cluster_sim.routing.routes import Route
from cluster_sim.serving.messages import Response, Sample

SEQUENTIAL: Final = Observation(responses=True, reacts=True, gates=True)
"""The observation of a component that may act on any response."""


class Links(Protocol):
    """Links and replicas that fail at times that are known beforehand."""

    def pass_on(self, sends: list[Send], now_ns: int) -> list[Send]:
        """Return what of ``sends`` reaches its receiver, and when."""

    def delivery_ns(self, attempt: Attempt, now_ns: int, *, is_dispatch: bool) -> int:
        """Return when the replica of an attempt has what is sent at ``now_ns``."""

    def answer_ns(self, number: int, now_ns: int, return_ns: int) -> int:
        """Return when the router has what a replica sends at ``now_ns``."""


class HubServices(Protocol):
    """What the hub does for its components."""

    seed: int
    events: EventList
    """Events of the hub that are to come; components add theirs."""
    requests: RequestTable
    membership: Membership
    dispatcher: Dispatcher
    routes: dict[str, Route]
    instant: Instant
    """Of the event that is handled."""
    links: Links | None
    """What passes between router and replicas, if links or replicas fail in this run."""
    first_observation: Observation
    """What the replicas report at the start."""

    def next_schedule_ns(self) -> int:
        """Return the earliest time for which a global schedule can be scheduled now."""

    def submit(self, tracked: TrackedRequest, now_ns: int) -> list[Send]:
        """Route a request, by the gate if there is one; only in an event of kind ``GLOBAL_SCHEDULE``."""

    def route(self, tracked: TrackedRequest, now_ns: int) -> list[Send]:
        """Route a request that has passed the gate; only in an event of kind ``GLOBAL_SCHEDULE``."""

    def fail_attempt(self, tracked: TrackedRequest, attempt: Attempt, failure: str, now_ns: int) -> list[Send]:
        """Close an attempt that has failed, with a reason: recovery goes on, or the request fails."""

    def give_up(self, tracked: TrackedRequest, attempt: Attempt, failure: str, now_ns: int) -> list[Send]:
        """Cancel an attempt whose replica does not answer: recovery goes on, or the request fails."""

    def end_request(self, tracked: TrackedRequest, row: RequestRow, now_ns: int) -> list[Send]:
        """End a request with its row, cancelling the attempts that are open."""

    def note_silence(self, number: int, since_ns: int) -> None:
        """Tell every component that a replica answers no scrape from ``since_ns`` on; -1: it answers again."""

    def restart_routers(self) -> None:
        """Build every routing policy anew."""


class HubComponent:
    """One component."""

    observation: Observation = SEQUENTIAL
    """What it reads of the replicas."""
    moved_bytes: int | None = None
    """Bytes of the transfers between replicas that have begun; None if it makes none."""
    migrations: int = 0
    """Times that it let a request go on at another replica from where it had come."""

    @property
    def first_observation(self) -> Observation:
        """What of ``observation`` replicas report at the start; the component tells them when there is more."""
        return self.observation

    def start(self, hub: HubServices) -> None:
        """Take the hub's services and schedule the first events, before time starts."""
        self.hub = hub

    def branch(self, other: Any, at_ns: int) -> None:
        """Go on from ``at_ns``, below which all has happened, as ``other`` would: the component of an equal study that
        differs in what comes later, which is made and never started.
        """
        del other, at_ns

    def handlers(self) -> Mapping[type, Callable[[Any, int], list[Send]]]:
        """Return what handles each type of its events, and of the messages that only it gets; they take the event and
        the time in ns, and return what the hub sends.
        """
        return {}

    def on_end(self, tracked: TrackedRequest, now_ns: int) -> list[Send]:
        """Note that a request has ended, however; its attempts are closed."""
        del tracked, now_ns
        return []

    def on_first_token(self, tracked: TrackedRequest, attempt: Attempt, now_ns: int) -> None:
        """Note that an attempt's first token has come; called if a component or a policy observes first tokens."""

    def on_opened(self, tracked: TrackedRequest, attempt: Attempt, now_ns: int) -> None:
        """Note that the router has sent a request to a replica."""

    def on_grid_sample(self, grid: str, member: Member, sample: Sample, now_ns: int) -> None:
        """Note a sample of a grid (``Observation.grids``) that has become visible, its own or another's.

        It is there for events that need it, and may come late where none does: nothing follows from it by itself.
        """

    def on_closed(self, tracked: TrackedRequest, attempt: Attempt, now_ns: int) -> None:
        """Note that the router no longer waits for an attempt."""

    def on_sample(self, member: Member, sample: Sample, now_ns: int) -> None:
        """Note a sample of a replica that has become visible."""

    def on_silence(self, member: Member, since_ns: int) -> None:
        """Note that a replica answers no scrape from ``since_ns`` on, because it has crashed; -1: it answers again."""

    def narrow(
        self, tracked: TrackedRequest, route: Route, eligible: Sequence[int] | None, now_ns: int
    ) -> Sequence[int] | None:
        """Return the positions among which the policy chooses, at least one of ``eligible`` (None: all of the route).

        What is given without a change, or None, costs nothing more.
        """
        del tracked, route, now_ns
        return eligible


class Verdict(NamedTuple):
    """What a gate decides about a request."""

    passes: bool
    """Whether it is routed now."""
    status: str = ""
    """Where it does not pass: the status with which it ends at once; empty if it waits."""
    reason: str = ""


PASSES: Final = Verdict(passes=True)
WAITS: Final = Verdict(passes=False)


class Gate(HubComponent, ABC):
    """Admission before routing: requests pass, wait, or end."""

    @abstractmethod
    def offer(self, tracked: TrackedRequest, now_ns: int) -> Verdict:
        """Decide about a request that arrives, or is tried again."""


class Encoding(HubComponent, ABC):
    """Media of requests encoded before their prompts."""

    @abstractmethod
    def takes(self, tracked: TrackedRequest, now_ns: int) -> bool:
        """Begin to encode the media of a request that would be routed now; return whether it waits for that."""

    @abstractmethod
    def work(self, end_ns: int) -> tuple[int, int]:
        """Return (requests, ns of work of all encoders) up to the end of the run."""


class Recovery(HubComponent, ABC):
    """What follows when an attempt fails, or nobody takes a request."""

    @abstractmethod
    def on_failure(self, tracked: TrackedRequest, attempt: Attempt | None, failure: str, now_ns: int) -> list[Send]:
        """Try a request again later, or end it; ``attempt`` (closed) is None if no replica took it."""


class HandOver(HubComponent, ABC):
    """Prompts computed by one replica and decoded by another."""

    legs: ClassVar[tuple[str, ...]] = ("prefill", "decode")
    """Attempts of these legs are answered here."""

    @abstractmethod
    def begin(self, tracked: TrackedRequest, route: Route, now_ns: int) -> list[Send] | None:
        """Start to serve a request with two replicas; None if one will do, which the router then chooses."""

    @abstractmethod
    def on_response(self, tracked: TrackedRequest, attempt: Attempt, response: Response, now_ns: int) -> list[Send]:
        """Go on after a response of a leg, whose attempt is closed."""

    @abstractmethod
    def on_failure(self, tracked: TrackedRequest, attempt: Attempt, failure: str, now_ns: int) -> list[Send]:
        """Take the other leg back after the failure of one, whose attempt is closed, before recovery goes on."""
