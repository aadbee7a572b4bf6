"""Speculative decoding: the drafts that a step verifies, and those that survive.

The draft at position p is accepted with ``acceptance[p]`` given that all before it were, so the number accepted is the
length of the run of successes (Leviathan, Kalman, Matias: Fast inference from transformers via speculative decoding,
ICML 2023).  Draws are keyed by (seed, request, tokens generated so far): the same on every placement and after a
preemption.
"""

from typing import Final, Literal

from pydantic import Field

from cluster_sim.engine.draws import draw_u64, stream_key
from cluster_sim.options import MS_PER_DAY, ConfigModel, Ratio
from cluster_sim.serving.sequence import Sequence
from cluster_sim.units import NS_PER_MS

_SPAN: Final = 1 << 64
_TOKENS_PER_REQUEST: Final = 1 << 24
"""Counters set aside per request: more than tokens times drafts of any request."""


class Speculative(ConfigModel):
    """Speculative decoding: every decode step verifies drafts beside its own token."""

    method: Literal["draft_model", "ngram", "mtp"] = Field("draft_model", description="Where drafts come from.")
    num_speculative_tokens: int = Field(3, ge=1, le=32, description="Drafts per sequence and step.")
    acceptance: tuple[Ratio, ...] = Field(
        (0.7,),
        min_length=1,
        description="Probability that the draft at each position is accepted, given that all before it were; the last "
        "one holds for every further position.",
    )
    draft_ms: float = Field(
        0.0,
        ge=0,
        le=MS_PER_DAY,
        description="Time of one forward pass of the drafter, per draft position, in milliseconds.",
    )


class Speculation:
    """The drafts of one engine."""

    def __init__(self, options: Speculative, seed: int) -> None:
        self.tokens = options.num_speculative_tokens
        known = options.acceptance
        self._limits = [int(known[min(position, len(known) - 1)] * _SPAN) for position in range(self.tokens)]
        self._key = stream_key(seed, "speculation", "acceptance")
        self.draft_ns = round(options.draft_ms * NS_PER_MS) * (1 if options.method == "mtp" else self.tokens)
        """What drafting adds to a step; a drafter runs once per position, prediction heads run together."""

    def drafts(self, sequence: Sequence, budget: int) -> int:
        """Return the drafts verified beside the sequence's next token; none beyond its output or the token budget."""
        return max(0, min(self.tokens, sequence.output_tokens - sequence.generated - 1, budget - 1))

    def accepted(self, sequence: Sequence, drafts: int) -> int:
        """Return how many of the drafts survive verification."""
        first = sequence.request_id * _TOKENS_PER_REQUEST + sequence.generated * self.tokens
        for position in range(drafts):
            if draw_u64(self._key, first + position) >= self._limits[position]:
                return position
        return drafts
