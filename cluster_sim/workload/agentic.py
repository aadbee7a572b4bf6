"""Agentic sessions: graphs of model calls with branches, joins and tool waits.

Design: every step owns as many slots as it may have branches, so a call's id is session * slots + slot, known before
anything runs, and all draws are keyed by it.  A call starts when every call of its parent steps has ended, after a tool
wait.  A step that does not happen is passed over: its children wait for its parents instead.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from cluster_sim.units import NS_PER_S
from cluster_sim.workload.arrivals import ArrivalTimes
from cluster_sim.workload.lengths import LengthSampler, build_lengths
from cluster_sim.workload.limits import limited_times
from cluster_sim.workload.options import AgenticWorkload, AgentStep
from cluster_sim.workload.request import Request
from cluster_sim.workload.sampling.distributions import Quantile, build_quantile, to_tokens
from cluster_sim.workload.sampling.random_streams import Ints, Stream
from cluster_sim.workload.session_plans import floor_ns, thoughts_ns
from cluster_sim.workload.source import SERVED
from cluster_sim.workload.traits import VISIBLE, Bodies, Identity, TraitMaker, session_attributes

_SESSIONS_AT_ONCE: Final = 256


class _Step:
    """One step of the graph with its samplers."""

    def __init__(self, config: AgentStep, index: int, first_slot: int, most: int, stream: Stream) -> None:
        self.config = config
        self.index = index
        self.first_slot = first_slot
        self.slots = most if config.repeat is not None else 1
        self._most = most
        self._lengths: LengthSampler = build_lengths(config.lengths, stream.child("lengths"))
        self._wait: Quantile | None = build_quantile(config.wait_s) if config.wait_s is not None else None
        self._repeat: Quantile | None = build_quantile(config.repeat) if config.repeat is not None else None
        self._streams = {name: stream.child(name) for name in ("wait", "repeat", "happens")}

    @property
    def least_wait_s(self) -> float:
        """The shortest tool wait."""
        return self._wait.least if self._wait is not None else 0.0

    def branches(self, first: int, count: int) -> Ints:
        """Return how many branches the step has in each of some sessions; 0 where it does not happen."""
        result = np.ones(count, dtype=np.int64)
        if self._repeat is not None:
            drawn = to_tokens(self._repeat.values(self._streams["repeat"].uniforms(first, count)))
            result = np.minimum(drawn, self._most)
        happens = self._streams["happens"].uniforms(first, count) < self.config.probability
        return np.where(happens, result, 0)

    def draw(self, first: int, count: int, floor: int) -> tuple[Ints, Ints, Ints]:
        """Return prompt, output and wait of every slot, shaped (sessions, slots)."""
        start, total = first * self.slots, count * self.slots
        prompt, output = self._lengths.draw(start, total)
        wait = np.full(total, floor, dtype=np.int64)
        if self._wait is not None:
            wait = thoughts_ns(self._wait.values(self._streams["wait"].uniforms(start, total)), floor)
        shape = (count, self.slots)
        return prompt.reshape(shape), output.reshape(shape), wait.reshape(shape)


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

    def __init__(self, config: AgenticWorkload, part: int, times: ArrivalTimes, stream: Stream) -> None:
        self._config = config
        self._times = times
        self._traits = TraitMaker(config.traits, part, stream.child("traits"))
        self._base = self._traits.segment_base
        self._steps: list[_Step] = []
        slots = 0
        for index, step in enumerate(config.steps):
            made = _Step(step, index, slots, config.max_branches, stream.child("step", step.name))
            self._steps.append(made)
            slots += made.slots
        self._slots = slots
        self._places = {step.name: index for index, step in enumerate(config.steps)}
        waits = [step.least_wait_s for step in self._steps if step.config.after]
        least_wait_ns = int(min(min(waits, default=0.0), 1e7) * NS_PER_S)
        self.think_floor_ns = max(floor_ns(config.think_floor_ms), least_wait_ns)
        self._active: dict[int, _Session] = {}
        self.started = self.completed = self.broken = 0

    def initial(self) -> Iterator[list[Request]]:
        """Yield the calls that start with their session, in order of the sessions' starts."""
        self._active.clear()
        self.started = self.completed = self.broken = 0
        for arrivals in limited_times(self._times, self._config.count, self._config.duration_s):
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
                    None if one is None else one[place * self._slots : (place + 1) * self._slots]
                    for one in (bodies.reasoning_tokens, bodies.encoder_tokens, bodies.length_hint_tokens)
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
            parents = [slot for name in step.config.after for slot in stands_for[self._places[name]]]
            parents = list(dict.fromkeys(parents))
            slots = [step.first_slot + branch for branch in range(count)]
            for slot in slots:
                calls[slot] = _Call(slot, step.index, self._ordered(step, slot, parents), 0, 0, 0, len(parents))
                for parent in parents:
                    calls[parent].children.append(slot)
            stands_for.append(slots or parents)
        return calls

    def _ordered(self, step: _Step, slot: int, parents: list[int]) -> list[int]:
        """Put first the parent whose context the call inherits: branch b goes on with branch b of its first parent."""
        if not step.config.after or not parents:
            return parents
        before = self._steps[self._places[step.config.after[0]]]
        same_branch = before.first_slot + (slot - step.first_slot)
        if before.slots > 1 and same_branch in parents:
            return [same_branch, *(parent for parent in parents if parent != same_branch)]
        return parents

    def _send(self, session: _Session, call: _Call, arrival_ns: int) -> Request:
        """Return a call as a request, its prompt put together from what its parents left."""
        step = self._steps[call.step].config
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
        """Return what a call's output adds to a later prompt: all of it, or what the user sees."""
        segment, tokens = self._base + 2 * (session.number * self._slots + slot) + 1, session.calls[slot].output
        if not self._traits.reasoning_kept and session.bodies.reasoning_tokens is not None:
            segment += VISIBLE
            tokens -= int(session.bodies.reasoning_tokens[slot])
        return [(segment, tokens)] if tokens > 0 else []

    def on_end(self, request: Request, at_ns: int, status: str) -> list[Request]:
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
                    started.append(self._send(session, child, at_ns + child.wait_ns))
        if session.open_calls == 0:
            self.completed += not session.is_broken
            self.broken += session.is_broken
            del self._active[session.number]
        return started

    @property
    def active(self) -> int:
        """Sessions that have started and not ended."""
        return len(self._active)
