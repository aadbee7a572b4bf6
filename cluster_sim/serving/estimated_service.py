"""Service times that a scheduler estimates, from what it knows of the length of an answer."""

import math
from typing import Literal

from pydantic import Field

from cluster_sim.options import LONGEST_RUN_S, MOST_ITEMS, ConfigModel
from cluster_sim.serving.sequence import Sequence
from cluster_sim.splitmix64 import splitmix64
from cluster_sim.workload.request import Request


class ServiceTimeOptions(ConfigModel):
    """Knowledge of output lengths, and what a token costs."""

    length_knowledge: Literal["exact", "noisy", "none"] = Field(
        "exact", description="What the scheduler knows of output lengths."
    )
    length_cv: float = Field(0.3, ge=0, le=100, description="Coefficient of variation of a noisy length prediction.")
    length_default_tokens: int = Field(
        256, ge=1, le=MOST_ITEMS, description="Output length assumed if nothing is known."
    )
    length_seed: int = Field(0, ge=0, lt=1 << 63, description="Seed of noisy length predictions.")
    prefill_s_per_token: float = Field(0.001, ge=0, le=LONGEST_RUN_S, description="Estimated service per prompt token.")
    decode_s_per_token: float = Field(0.0005, ge=0, le=LONGEST_RUN_S, description="Estimated service per output token.")


class ServiceTime:
    """Estimates output lengths exactly, with a lognormal error, or not at all (always ``length_default_tokens``).

    A noisy prediction is the client's hint if the request carries one, else the true length times
    exp(cv * z - cv^2 / 2) with z standard normal, drawn by (seed, request id): it is the same on every replica and for
    every order of calls.
    """

    def __init__(self, options: ServiceTimeOptions) -> None:
        self._options = options
        self._key = splitmix64(options.length_seed)

    def of(self, sequence: Sequence) -> float:
        """Return the estimated service time of a sequence alone in seconds, from its predicted output length."""
        output = self.output_tokens(sequence.request)
        options = self._options
        return options.prefill_s_per_token * sequence.prompt_tokens + options.decode_s_per_token * output

    def output_tokens(self, request: Request) -> int:
        """Return the predicted output length in tokens, at least 1."""
        options = self._options
        if options.length_knowledge == "exact":
            return request.output_tokens
        if options.length_knowledge == "none":
            return options.length_default_tokens
        hint = request.attributes.length_hint_tokens
        if hint > 0:
            return hint
        counter = self._key ^ request.request_id
        uniform = (splitmix64(2 * counter) >> 11) + 1  # 1 .. 2^53: the logarithm needs a positive one
        angle = splitmix64(2 * counter + 1) >> 11
        normal = math.sqrt(-2.0 * math.log(uniform / 2**53)) * math.cos(2.0 * math.pi * angle / 2**53)
        cv = options.length_cv
        return max(1, round(request.output_tokens * math.exp(cv * normal - cv * cv / 2)))
