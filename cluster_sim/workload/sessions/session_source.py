"""Source of conversations: every turn waits for the one before, thinks, and carries the context along.

Request ids number all turns in order of the sessions' starts: a session's turns have consecutive ids, known when it
starts.  The prompt of a turn is the shared prefix and then one segment that grows from turn to turn: first prompt,
first output, second prompt and so on.  So a prefix cache finds everything that earlier turns left behind, and a turn
costs the same however long the conversation is.
"""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from cluster_sim.workload.arrivals.arrival_process import ArrivalTimes
from cluster_sim.workload.request import Request
from cluster_sim.workload.sampling.random_streams import Floats, Stream
from cluster_sim.workload.sessions.session_planner import SessionPlan, SessionPlanner
from cluster_sim.workload.source import SERVED
from cluster_sim.workload.traits.trait_sampler import fill_prompt, session_attributes


class Planner(Protocol):
    """Plans sessions of one or several shapes, in order of their start."""

    planners: list[SessionPlanner]

    def restart(self) -> None:
        """Begin again with the first session."""

    def plan(self, count: int) -> list[tuple[SessionPlanner, SessionPlan]]:
        """Return the next ``count`` sessions, each with the planner of its shape."""


class SinglePlanner:
    """All sessions have one shape."""

    def __init__(self, planner: SessionPlanner) -> None:
        self.planners = [planner]

    def restart(self) -> None:
        """Begin again with the first session."""
        self.planners[0].restart()

    def plan(self, count: int) -> list[tuple[SessionPlanner, SessionPlan]]:
        """Return the next ``count`` sessions."""
        planner = self.planners[0]
        return [(planner, plan) for plan in planner.plan(count)]


class SharedPlanner:
    """Each session has the shape of a client profile drawn by share."""

    def __init__(self, planners: list[SessionPlanner], shares: list[float], stream: Stream) -> None:
        self.planners = planners
        self._edges: Floats = np.cumsum(shares) / sum(shares)
        self._stream = stream.child("profile")
        self._next = 0

    def restart(self) -> None:
        """Begin again with the first session."""
        self._next = 0
        for planner in self.planners:
            planner.restart()

    def plan(self, count: int) -> list[tuple[SessionPlanner, SessionPlan]]:
        """Return the next ``count`` sessions."""
        picks = np.searchsorted(self._edges, self._stream.uniforms(self._next, count), side="left")
        picks = np.minimum(picks, len(self.planners) - 1)
        self._next += count
        counts = np.bincount(picks, minlength=len(self.planners)).tolist()
        waiting = [iter(planner.plan(some)) for planner, some in zip(self.planners, counts, strict=True)]
        return [(self.planners[pick], next(waiting[pick])) for pick in picks.tolist()]


class _Session:
    """A session under way."""

    __slots__ = ("context_tokens", "first_id", "plan", "planner", "shared", "turn")

    def __init__(self, planner: SessionPlanner, plan: SessionPlan, first_id: int) -> None:
        self.planner = planner
        self.plan = plan
        self.first_id = first_id
        self.turn = 0
        self.shared = plan.identity.segments
        """What the prompts begin with that other sessions may have too."""
        self.context_tokens = plan.identity.prefix_tokens if planner.traits.prefix_on_top else 0

    def request(self, arrival_ns: int) -> Request:
        """Return the current turn as a request."""
        plan, planner, turn = self.plan, self.planner, self.turn
        own = self._own_segment()
        prompt = self.context_tokens + plan.prompt[turn]
        carries_on = planner.shape.accumulate and turn + 1 < len(plan.prompt)
        has_history = planner.shape.accumulate and turn > 0
        is_plain = not self.shared and not carries_on and not has_history
        segments = () if is_plain else fill_prompt(self.shared, prompt, own)
        attributes = session_attributes(
            plan.identity.base,
            (planner.base + plan.number, turn),
            planner.traits.deadline_ns(arrival_ns),
            (segments, own if carries_on and planner.traits.reasoning_kept else -1),
            plan.bodies.row(plan.first_body + turn),
        )
        return Request(self.first_id + turn, arrival_ns, prompt, plan.output[turn], attributes)

    def carry(self, request: Request) -> None:
        """Add an ended turn to the context and go on to the next."""
        if self.planner.shape.accumulate:
            visible = request.output_tokens
            if not self.planner.traits.reasoning_kept:
                visible -= request.attributes.reasoning_tokens
            if not self.turn:  # A short first prompt may end inside the shared prefix.
                own = self._own_segment()
                self.shared = tuple([part for part in request.attributes.segments if part[0] != own])
            self.context_tokens = request.prompt_tokens + visible
        self.turn += 1

    def _own_segment(self) -> int:
        """Return the name of what no other session has: one for all turns, or one a turn if they stand alone."""
        turn = 0 if self.planner.shape.accumulate else self.turn
        return self.planner.base + 2 * (self.plan.first_turn + turn)

    def goes_on(self) -> bool:
        """Return whether there is a next turn that fits the context limit."""
        turn, plan, limit = self.turn, self.plan, self.planner.shape.max_context_tokens
        if turn >= len(plan.prompt):
            return False
        return limit is None or self.context_tokens + plan.prompt[turn] + plan.output[turn] <= limit


class SessionSource:
    """A ``FeedbackSource`` of sessions that start by an arrival process."""

    def __init__(self, planner: Planner, times: ArrivalTimes) -> None:
        self._planner = planner
        self._times = times
        self.think_floor_ns = min(shape.floor_ns for shape in planner.planners)
        self._active: dict[int, _Session] = {}
        self.started = 0
        self.completed = 0
        """Sessions whose last turn finished."""
        self.broken = 0
        """Sessions that ended early because a turn did not finish, or at the context limit."""

    def initial(self) -> Iterator[list[Request]]:
        """Yield the first turns of all sessions in order of their start."""
        self._planner.restart()
        self._active.clear()
        self.started = self.completed = self.broken = 0
        next_id = 0
        for arrivals in self._times():
            requests = []
            for (planner, plan), arrival_ns in zip(self._planner.plan(len(arrivals)), arrivals.tolist(), strict=True):
                session = _Session(planner, plan, next_id)
                next_id += len(plan.prompt)
                request = session.request(arrival_ns)
                self._active[request.attributes.session_id] = session
                requests.append(request)
            self.started += len(requests)
            yield requests

    def on_end(self, request: Request, now_ns: int, status: str) -> list[Request]:
        """Return the session's next turn, if there is one and this turn finished."""
        session = self._active[request.attributes.session_id]
        if status == SERVED:
            is_last = session.turn + 1 == len(session.plan.prompt)
            session.carry(request)
            if session.goes_on():
                return [session.request(now_ns + session.plan.think_ns[session.turn])]
            self.completed += is_last
            self.broken += not is_last
        else:
            self.broken += 1
        del self._active[request.attributes.session_id]
        return []

    @property
    def active(self) -> int:
        """Sessions that have started and not ended."""
        return len(self._active)

    def snapshot(self) -> Any:
        """Return the counts, and by session id how far each session under way is."""
        sessions = {
            number: (session.turn, session.shared, session.context_tokens) for number, session in self._active.items()
        }
        return self.completed, self.broken, sessions

    def restore(self, state: Any) -> None:
        """Take back what ``snapshot`` returned; the plans are those that ``initial`` has made again."""
        self.completed, self.broken, sessions = state
        planned, self._active = self._active, {}
        for number, (turn, shared, context_tokens) in sessions.items():
            session = self._active[number] = planned[number]
            session.turn, session.shared, session.context_tokens = turn, shared, context_tokens
