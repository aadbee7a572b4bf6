"""Knowledge that a scheduler has of the length of an answer."""

import math
from typing import Final

from cluster_sim.splitmix64 import splitmix64
from cluster_sim.workload.request import Request

EXACT: Final = "exact"
NOISY: Final = "noisy"
NONE: Final = "none"
KNOWLEDGE_KINDS: Final = (EXACT, NOISY, NONE)


class LengthKnowledge:
    """Predicts output lengths: exactly, with a lognormal error, or not at all (always ``default_tokens``).

    A noisy prediction is the client's hint where the request carries one, else the true length times
    exp(cv * z - cv^2 / 2) with z standard normal, drawn by (seed, request id): it is the same on every replica and for
    every order of calls.
    """

    def __init__(self, kind: str = EXACT, cv: float = 0.3, default_tokens: int = 256, seed: int = 0) -> None:
        if kind not in KNOWLEDGE_KINDS:
            raise ValueError(f"unknown length knowledge {kind!r}; known: {', '.join(KNOWLEDGE_KINDS)}")
        self.kind = kind
        self.cv = cv
        self.default_tokens = default_tokens
        self.seed = seed

    def output_tokens(self, request: Request) -> int:
        """Return the predicted output length in tokens, at least 1."""
        if self.kind == EXACT:
            return request.output_tokens
        if self.kind == NONE:
            return self.default_tokens
        hint = request.attributes.length_hint_tokens
        if hint > 0:
            return hint
        counter = splitmix64(self.seed) ^ request.request_id
        uniform = (splitmix64(2 * counter) >> 11) + 1  # 1 .. 2^53: the logarithm needs a positive one
        angle = splitmix64(2 * counter + 1) >> 11
        normal = math.sqrt(-2.0 * math.log(uniform / 2**53)) * math.cos(2.0 * math.pi * angle / 2**53)
        return max(1, round(request.output_tokens * math.exp(self.cv * normal - self.cv * self.cv / 2)))
