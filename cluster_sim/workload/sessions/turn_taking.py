"""Turn-taking: turns that wait for one another and carry the context along."""

from dataclasses import dataclass

from pydantic import Field

from cluster_sim.options import MOST_ITEMS, MS_PER_DAY, ConfigModel
from cluster_sim.workload.feedback.think_times import floor_ns
from cluster_sim.workload.lengths.length_sampler import Lengths
from cluster_sim.workload.sampling.distribution import Distribution
from cluster_sim.workload.traits.trait_options import Traits


class TurnTaking(ConfigModel):
    """Turns that wait for one another and carry the context along."""

    turns: Distribution = Field(description="Turns of a session; rounded, at least 1.")
    think_time_s: Distribution = Field(description="From the end of a turn to the next one, seconds.")
    think_floor_ms: float = Field(
        default=1.0,
        gt=0,
        le=MS_PER_DAY,
        description="Shorter thoughts are lengthened to this: the simulation's lookahead, ms.",
    )
    accumulate: bool = Field(default=True, description="Whether a turn's prompt holds all earlier turns.")
    max_context_tokens: int | None = Field(
        default=None,
        ge=2,
        le=MOST_ITEMS,
        description="A session ends before a later turn whose prompt plus output would exceed this.",
    )


@dataclass(frozen=True, slots=True)
class SessionShape:
    """Everything that the sessions of one kind have in common."""

    turns: Distribution
    lengths: Lengths
    think_time_s: Distribution
    think_floor_ns: int
    accumulate: bool
    max_context_tokens: int | None
    traits: Traits
    conversing: float = 1.0
    """Share of the sessions that have more than one turn at all."""

    @classmethod
    def of(cls, talk: TurnTaking, lengths: Lengths, traits: Traits, conversing: float = 1.0) -> "SessionShape":
        """Return the shape of sessions that take turns as ``talk`` says."""
        return cls(
            turns=talk.turns,
            lengths=lengths,
            think_time_s=talk.think_time_s,
            think_floor_ns=floor_ns(talk.think_floor_ms),
            accumulate=talk.accumulate,
            max_context_tokens=talk.max_context_tokens,
            traits=traits,
            conversing=conversing,
        )
