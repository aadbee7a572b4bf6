"""Plans of whole sessions, drawn ahead: the turns, their lengths, think times and traits.

Design: sessions are planned in order of their start, and the turns of all sessions of one shape are numbered through.
A turn's draws are keyed by that number, so they depend neither on the fate of the session nor on time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cluster_sim.workload.feedback.think_times import shortest_think_time_ns, think_times_ns
from cluster_sim.workload.lengths.length_sampler import build_lengths
from cluster_sim.workload.sampling.distribution import build_quantile, build_token_quantile
from cluster_sim.workload.sampling.quantile import to_tokens
from cluster_sim.workload.sampling.random_streams import Stream
from cluster_sim.workload.sessions.turn_taking import SessionShape
from cluster_sim.workload.traits.trait_sampler import Bodies, Identity, TraitSampler

MOST_TURNS: Final = 100_000


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
    first_body: int
    """Index in ``bodies`` of the first turn."""


class SessionPlanner:
    """Plans the sessions of one shape, in order."""

    def __init__(self, shape: SessionShape, part: int, stream: Stream) -> None:
        self.shape = shape
        self.traits = TraitSampler(shape.traits, part, stream.child("traits"))
        self.base = self.traits.segment_base
        self._turns = build_token_quantile(shape.turns)
        self._think = build_quantile(shape.think_time_s)
        self._lengths = build_lengths(shape.lengths, stream.child("lengths"))
        self._turn_stream, self._think_stream = stream.child("turns"), stream.child("think")
        self._converse_stream = stream.child("converse")
        self.floor_ns = shortest_think_time_ns(self._think.least, shape.think_floor_ns)
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
        think = think_times_ns(self._think.values(self._think_stream.uniforms(self.turns, total)), self.floor_ns)
        identities = self.traits.identities(self.sessions, count)
        bodies = self.traits.bodies(self.turns, output)
        if self.traits.media_in_prompt and bodies.encoder_tokens is not None:
            prompt = prompt + bodies.encoder_tokens
        prompts, outputs, thinks = prompt.tolist(), output.tolist(), think.tolist()
        plans = []
        first = 0
        for index, length in enumerate(turns.tolist()):
            end = first + length
            plans.append(
                SessionPlan(
                    number=self.sessions + index,
                    first_turn=self.turns + first,
                    prompt=prompts[first:end],
                    output=outputs[first:end],
                    think_ns=thinks[first:end],
                    identity=identities[index],
                    bodies=bodies,
                    first_body=first,
                )
            )
            first = end
        self.sessions += count
        self.turns += total
        return plans
