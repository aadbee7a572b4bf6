"""Source of agentic sessions: graphs of model calls with branches, joins and tool waits.

Design: every step owns as many slots as it may have branches, so a call's id is session * slots + slot, known before
anything runs, and all draws are keyed by it.  A call starts when every call of its parent steps has ended, after a tool
wait.  A step that does not happen is passed over: its children wait for its parents instead.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from cluster_sim.workload.agents.agent_step import AgentStep, StepSampler
from cluster_sim.workload.arrivals.arrival_process import ArrivalTimes
from cluster_sim.workload.feedback.think_times import shortest_think_time_ns
from cluster_sim.workload.request import Request
from cluster_sim.workload.sampling.random_streams import Stream
from cluster_sim.workload.source import SERVED
from cluster_sim.workload.traits.trait_sampler import VISIBLE, Bodies, Identity, TraitSampler, session_attributes

_SESSIONS_AT_ONCE: Final = 256


@dataclass(slots=True)
class _Call:
    """One call of a session."""

    slot: int
    step: int
    parents: list[int]
    """Slots of the calls it waits for."""
    prompt: int
    output: int
    wait_ns: int
    waits_for: int = 0
    children: list[int] = field(default_factory=list)
    chain: tuple[tuple[int, int], ...] = ()
    """The prompt's content, once the call has started."""


@dataclass(slots=True)
class _Session:
    number: int
    calls: dict[int, _Call]
    identity: Identity
    bodies: Bodies
    open_calls: int
    """Calls sent and not ended."""
    left: int
    """Calls not ended."""
    is_broken: bool = False


class AgenticSource:
    """A ``FeedbackSource`` of agentic sessions."""

    def __init__(
        self,
        steps: Sequence[AgentStep],
        times: ArrivalTimes,
        traits: TraitSampler,
        stream: Stream,
        *,
        max_branches: int,
        least_wait_ns: int,
    ) -> None:
        self._times = times
        self._traits = traits
        self._base = traits.segment_base
        self._steps: list[StepSampler] = []
        slots = 0
        for index, step in enumerate(steps):
            sampler = StepSampler(step, index, slots, max_branches, stream.child("step", step.name))
            self._steps.append(sampler)
            slots += sampler.slots
        self._slots = slots
        self._places = {step.name: index for index, step in enumerate(steps)}
        waits_s = [step.least_wait_s for step in self._steps if step.options.after]
        self.think_floor_ns = shortest_think_time_ns(min(waits_s, default=0.0), least_wait_ns)
        self._active: dict[int, _Session] = {}
        self.started = self.completed = self.broken = 0

    def initial(self) -> Iterator[list[Request]]:
        """Yield the calls that start with their session, in order of the sessions' starts."""
        self._active.clear()
        self.started = self.completed = self.broken = 0
        for arrivals in self._times():
            for start in range(0, len(arrivals), _SESSIONS_AT_ONCE):
                some = arrivals[start : start + _SESSIONS_AT_ONCE].tolist()
                requests: list[Request] = []
                for session, arrival_ns in zip(self._plan(self.started, len(some)), some, strict=True):
                    self._active[session.number] = session
                    roots = [call for call in session.calls.values() if not call.parents]
                    requests.extend(self._send(session, call, arrival_ns) for call in roots)
                self.started += len(some)
                yield requests

    def _plan(self, first: int, count: int) -> list[_Session]:
        branches = [step.branches(first, count).tolist() for step in self._steps]
        drawn = [step.draw(first, count, self.think_floor_ns) for step in self._steps]
        outputs = np.concatenate([output for _, output, _ in drawn], axis=1)
        bodies = self._traits.bodies(first * self._slots, outputs.reshape(-1))
        identities = self._traits.identities(first, count)
        tables = [tuple(column.tolist() for column in columns) for columns in drawn]
        media = bodies.encoder_tokens if self._traits.media_in_prompt else None
        sessions = []
        for place in range(count):
            calls = self._graph([counts[place] for counts in branches])
            for call in calls.values():
                step = self._steps[call.step]
                prompt, output, wait = tables[call.step]
                branch = call.slot - step.first_slot
                call.prompt, call.output = prompt[place][branch], output[place][branch]
                call.wait_ns = wait[place][branch]
                if media is not None:
                    call.prompt += int(media[place * self._slots + call.slot])
            own = Bodies(
                *(
                    None if tokens is None else tokens[place * self._slots : (place + 1) * self._slots]
                    for tokens in (bodies.reasoning_tokens, bodies.encoder_tokens, bodies.length_hint_tokens)
                )
            )
            sessions.append(_Session(first + place, calls, identities[place], own, 0, len(calls)))
        return sessions

    def _graph(self, branches: list[int]) -> dict[int, _Call]:
        """Return the calls of a session with given numbers of branches, linked to their parents and children."""
        calls: dict[int, _Call] = {}
        stands_for: list[list[int]] = []
        """For each step the slots that its children wait for: its own, or those it would have waited for itself."""
        for step, count in zip(self._steps, branches, strict=True):
            parents = [slot for name in step.options.after for slot in stands_for[self._places[name]]]
            parents = list(dict.fromkeys(parents))
            slots = [step.first_slot + branch for branch in range(count)]
            for slot in slots:
                calls[slot] = _Call(slot, step.index, self._ordered(step, slot, parents), 0, 0, 0, len(parents))
                for parent in parents:
                    calls[parent].children.append(slot)
            stands_for.append(slots or parents)
        return calls

    def _ordered(self, step: StepSampler, slot: int, parents: list[int]) -> list[int]:
        """Put first the parent whose context the call inherits: branch b goes on with branch b of its first parent."""
        if not step.options.after or not parents:
            return parents
        before = self._steps[self._places[step.options.after[0]]]
        same_branch = before.first_slot + (slot - step.first_slot)
        if before.slots > 1 and same_branch in parents:
            return [same_branch, *(parent for parent in parents if parent != same_branch)]
        return parents

    def _send(self, session: _Session, call: _Call, arrival_ns: int) -> Request:
        """Return a call as a request whose prompt is put together from the contexts and outputs of its parents."""
        step = self._steps[call.step].options
        chain: list[tuple[int, int]] = list(session.identity.segments)
        if step.context != "none" and call.parents:
            first, *others = call.parents
            chain = [*session.calls[first].chain, *self._output_of(session, first)]
            if step.context == "all":
                chain.extend(segment for other in others for segment in self._output_of(session, other))
        number = session.number * self._slots + call.slot
        own = self._base + 2 * number
        fresh = call.prompt
        if not self._traits.prefix_on_top and not call.parents:
            fresh = max(fresh - session.identity.prefix_tokens, 1)
        chain.append((own, fresh))
        call.chain = tuple(chain)
        session.open_calls += 1
        attributes = session_attributes(
            session.identity.base,
            (self._base + session.number, call.slot),
            self._traits.deadline_ns(arrival_ns),
            (call.chain, own + 1 if call.children and self._traits.reasoning_kept else -1),
            session.bodies.row(call.slot),
        )
        return Request(number, arrival_ns, sum(tokens for _, tokens in chain), call.output, attributes)

    def _output_of(self, session: _Session, slot: int) -> list[tuple[int, int]]:
        """Return the segment that a call's output adds to a later prompt: all of it, or the part that the user sees."""
        segment, tokens = self._base + 2 * (session.number * self._slots + slot) + 1, session.calls[slot].output
        if not self._traits.reasoning_kept and session.bodies.reasoning_tokens is not None:
            segment += VISIBLE
            tokens -= int(session.bodies.reasoning_tokens[slot])
        return [(segment, tokens)] if tokens > 0 else []

    def on_end(self, request: Request, now_ns: int, status: str) -> list[Request]:
        """Return the calls that waited for this one last; a call that did not finish ends its session."""
        session = self._active[request.attributes.session_id - self._base]
        call = session.calls[request.attributes.turn]
        session.open_calls -= 1
        session.left -= 1
        session.is_broken = session.is_broken or status != SERVED
        started = []
        if not session.is_broken:
            for slot in call.children:
                child = session.calls[slot]
                child.waits_for -= 1
                if child.waits_for == 0:
                    started.append(self._send(session, child, now_ns + child.wait_ns))
        if session.open_calls == 0:
            self.completed += not session.is_broken
            self.broken += session.is_broken
            del self._active[session.number]
        return started

    @property
    def active(self) -> int:
        """Sessions that have started and not ended."""
        return len(self._active)

    def snapshot(self) -> Any:
        """Return the counts, and how far each session under way is, with (calls waited for, content) by slot."""
        sessions = {}
        for number, session in self._active.items():
            calls = {slot: (call.waits_for, call.chain) for slot, call in session.calls.items()}
            sessions[number] = session.open_calls, session.left, session.is_broken, calls
        return self.completed, self.broken, sessions

    def restore(self, state: Any) -> None:
        """Take back what ``snapshot`` returned; the graphs are those that ``initial`` has made again."""
        self.completed, self.broken, sessions = state
        planned, self._active = self._active, {}
        for number, (open_calls, left, is_broken, calls) in sessions.items():
            session = self._active[number] = planned[number]
            session.open_calls, session.left, session.is_broken = open_calls, left, is_broken
            for slot, (waits_for, chain) in calls.items():
                session.calls[slot].waits_for, session.calls[slot].chain = waits_for, chain
