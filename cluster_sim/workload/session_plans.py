"""Draws whole sessions ahead: how many turns, their lengths, thoughts and traits.

Design: sessions are planned in order of their start, and the turns of all sessions of one shape are numbered through.
A turn's draws are keyed by that number, so they depend on neither what happens to the session nor on when.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cluster_sim.units import NS_PER_MS, NS_PER_S
from cluster_sim.workload.lengths import build_lengths
from cluster_sim.workload.options import ClientProfile, SessionsWorkload, TurnTaking
from cluster_sim.workload.sampling.distributions import build_quantile, to_tokens
from cluster_sim.workload.sampling.options import Distribution, Fixed
from cluster_sim.workload.sampling.random_streams import Floats, Ints, Stream
from cluster_sim.workload.trait_options import Lengths, Traits
from cluster_sim.workload.traits import Bodies, Identity, TraitMaker

_LONGEST_THOUGHT_NS: Final = 1e16
MOST_TURNS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Shape:
    """What the sessions of one kind look like."""

    turns: Distribution
    lengths: Lengths
    think_time_s: Distribution
    think_floor_ns: int
    accumulate: bool
    max_context_tokens: int | None
    traits: Traits
    conversing: float = 1.0
    """Share of the sessions that have more than one turn at all."""


def shape_of(config: SessionsWorkload) -> Shape:
    """Return the shape of a sessions workload."""
    return _shape(config, config.lengths, config.traits)


def shape_of_profile(profile: ClientProfile) -> Shape:
    """Return the shape of a client profile: one turn where it does not converse; its name is the default tenant."""
    traits = profile.traits if profile.traits.tenant else profile.traits.model_copy(update={"tenant": profile.name})
    talk = profile.conversation
    one = Fixed(value=1.0)
    if talk is None:
        return Shape(
            one, profile.lengths, one, floor_ns(1000.0), accumulate=False, max_context_tokens=None, traits=traits
        )
    return _shape(talk, profile.lengths, traits, talk.probability)


def _shape(talk: TurnTaking, lengths: Lengths, traits: Traits, conversing: float = 1.0) -> Shape:
    return Shape(
        turns=talk.turns,
        lengths=lengths,
        think_time_s=talk.think_time_s,
        think_floor_ns=floor_ns(talk.think_floor_ms),
        accumulate=talk.accumulate,
        max_context_tokens=talk.max_context_tokens,
        traits=traits,
        conversing=conversing,
    )


def floor_ns(think_floor_ms: float) -> int:
    """Return a think floor in ns, at least 1: an end and what it causes are never at the same instant."""
    return max(round(think_floor_ms * NS_PER_MS), 1)


def thoughts_ns(seconds: Floats, floor: int) -> Ints:
    """Return drawn think times in ns, raised to the floor."""
    result: Ints = np.rint(np.clip(seconds * NS_PER_S, floor, _LONGEST_THOUGHT_NS)).astype(np.int64)
    return result


@dataclass(slots=True)
class SessionPlan:
    """One session as drawn: turn t has new prompt ``prompt[t]``, and starts ``think_ns[t]`` after turn t - 1 ended."""

    number: int
    first_turn: int
    """Number of its first turn among all turns of its shape."""
    prompt: Sequence[int]
    output: Sequence[int]
    think_ns: Sequence[int]
    identity: Identity
    bodies: Bodies
    at: int
    """Where this session's turns begin in ``bodies``."""


class SessionPlanner:
    """Plans the sessions of one shape, in order."""

    def __init__(self, shape: Shape, part: int, stream: Stream) -> None:
        self.shape = shape
        self.traits = TraitMaker(shape.traits, part, stream.child("traits"))
        self.base = self.traits.segment_base
        self._turns = build_quantile(shape.turns)
        self._think = build_quantile(shape.think_time_s)
        self._lengths = build_lengths(shape.lengths, stream.child("lengths"))
        self._turn_stream, self._think_stream = stream.child("turns"), stream.child("think")
        self._converse_stream = stream.child("converse")
        self.floor_ns = max(shape.think_floor_ns, int(min(self._think.least * NS_PER_S, _LONGEST_THOUGHT_NS)))
        self.sessions = 0
        self.turns = 0

    def restart(self) -> None:
        """Begin again with the first session."""
        self.sessions = self.turns = 0

    def plan(self, count: int) -> list[SessionPlan]:
        """Return the next ``count`` sessions."""
        turns = np.minimum(to_tokens(self._turns.values(self._turn_stream.uniforms(self.sessions, count))), MOST_TURNS)
        if self.shape.conversing < 1.0:
            talks = self._converse_stream.uniforms(self.sessions, count) < self.shape.conversing
            turns = np.where(talks, turns, 1)
        total = int(turns.sum())
        prompt, output = self._lengths.draw(self.turns, total)
        think = thoughts_ns(self._think.values(self._think_stream.uniforms(self.turns, total)), self.floor_ns)
        identities = self.traits.identities(self.sessions, count)
        bodies = self.traits.bodies(self.turns, output)
        if self.traits.media_in_prompt and bodies.encoder_tokens is not None:
            prompt = prompt + bodies.encoder_tokens
        prompts, outputs, thinks = prompt.tolist(), output.tolist(), think.tolist()
        plans = []
        at = 0
        for index, length in enumerate(turns.tolist()):
            end = at + length
            plans.append(
                SessionPlan(
                    number=self.sessions + index,
                    first_turn=self.turns + at,
                    prompt=prompts[at:end],
                    output=outputs[at:end],
                    think_ns=thinks[at:end],
                    identity=identities[index],
                    bodies=bodies,
                    at=at,
                )
            )
            at = end
        self.sessions += count
        self.turns += total
        return plans
