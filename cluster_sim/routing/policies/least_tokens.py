"""Least tokens: fewest tokens in flight, which tells long prompts from short ones.

The router knows a request's prompt tokens, and its output tokens only if the client predicts them.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from cluster_sim.routing.candidates import Candidates
from cluster_sim.routing.options import RouterOptions
from cluster_sim.routing.policy_interface import ROUTING_POLICIES, RoutingPolicy
from cluster_sim.routing.policy_parts.tied_minimum import TiedMinimum
from cluster_sim.routing.policy_parts.work_in_flight import WorkInFlight
from cluster_sim.workload.request import Request


class LeastTokensOptions(RouterOptions):
    """The replica with the fewest tokens in flight; observes when requests end."""

    policy: Literal["least_tokens"] = Field("least_tokens", description="Fewest tokens in flight.")
    output_tokens: int = Field(
        0, ge=0, le=10**9, description="Output tokens to count for a request whose client predicts none."
    )


@ROUTING_POLICIES.register("least_tokens", LeastTokensOptions)
class LeastTokens(RoutingPolicy):
    """The candidate with the fewest prompt and predicted output tokens in flight."""

    observes_responses: ClassVar = True

    def __init__(self, options: LeastTokensOptions, candidates: Candidates) -> None:
        super().__init__(options, candidates)
        self._output_tokens = options.output_tokens
        self._work = WorkInFlight(candidates.count)
        self._least = TiedMinimum(candidates.count, candidates.seed, takes_first=options.ties == "first")

    def choose(self, request: Request, now_ns: int, eligible: Sequence[int] | None) -> int:
        """Return the position with the fewest tokens, and count the request's there."""
        chosen = self._least.least(request.request_id, eligible)
        hint = request.attributes.length_hint_tokens
        self._work.add(chosen, request.request_id, request.prompt_tokens + (self._output_tokens if hint < 0 else hint))
        self._least.set(chosen, self._work.amounts[chosen])
        return chosen

    def on_join(self, position: int) -> None:
        """Start its count at none."""
        self._work.grow(position + 1)
        self._least.grow(position + 1)

    def on_end(self, position: int, request: Request) -> None:
        """Count the request's tokens no longer."""
        self._work.remove(position, request.request_id)
        self._least.set(position, self._work.amounts[position])
