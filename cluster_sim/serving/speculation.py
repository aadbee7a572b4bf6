"""Speculative decoding: how many drafts a step verifies, and how many of them survive.

The draft at position p is accepted with ``acceptance[p]`` given that all before it were, so the number accepted is the
length of the run of successes (Leviathan, Kalman, Matias: Fast inference from transformers via speculative decoding,
ICML 2023).  Draws are keyed by (seed, request, tokens generated so far): the same on every placement and after a
preemption.
"""

from typing import Final

from cluster_sim.engine.draws import draw_u64, stream_key
from cluster_sim.serving.sequence import Sequence
from cluster_sim.serving.speculation_options import Speculative
from cluster_sim.units import NS_PER_MS

_SPAN: Final = 1 << 64
_TOKENS_PER_REQUEST: Final = 1 << 24
"""Counters set aside per request: more than tokens times drafts of any request."""


class Speculation:
    """The drafts of one engine."""

    def __init__(self, settings: Speculative, seed: int) -> None:
        self.tokens = settings.num_speculative_tokens
        known = settings.acceptance
        self._limits = [int(known[min(at, len(known) - 1)] * _SPAN) for at in range(self.tokens)]
        self._key = stream_key(seed, "speculation", "acceptance")
        self.draft_ns = round(settings.draft_ms * NS_PER_MS) * (1 if settings.method == "mtp" else self.tokens)
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
