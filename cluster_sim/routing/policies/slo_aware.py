"""SLO aware: replicas that are predicted to meet a request's objectives come first.

The form is that of llm-d's latency-aware routing (llm-d/llm-d-inference-scheduler, ``latency-scorer``): predict TTFT
and TPOT at each replica, compare with the objectives, choose among those with headroom by a weighted sum of both
headrooms. llm-d trains its predictor on line; this one is linear in what the router has sent itself:

    TTFT = link + (prompt tokens sent there whose first token has not come + this prompt) / prefill_tokens_per_s
    TPOT = step_ms + step_ms_per_request x (requests in flight there + 1)
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from cluster_sim.options import LONGEST_RUN_S
from cluster_sim.routing.candidates import Candidates
from cluster_sim.routing.options import RouterOptions
from cluster_sim.routing.policy_interface import ROUTING_POLICIES, RoutingPolicy
from cluster_sim.routing.policy_parts.tie_break import TieBreak
from cluster_sim.routing.policy_parts.work_in_flight import WorkInFlight
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.request import Request

Seconds = Annotated[float, Field(gt=0, le=LONGEST_RUN_S)]
Rate = Annotated[float, Field(gt=0, le=1e9)]


class SloAwareOptions(RouterOptions):
    """Replicas predicted to meet the request's objectives first; observes first tokens and when requests end."""

    policy: Literal["slo_aware"] = Field("slo_aware", description="Predicted TTFT and TPOT against objectives.")
    ttft_s: Seconds = Field(2.0, description="Objective of the time to the first token.")
    tpot_s: Seconds = Field(0.1, description="Objective of the time per output token.")
    class_ttft_s: dict[str, Seconds] = Field({}, description="Objectives of TTFT by the request's SLO class.")
    class_tpot_s: dict[str, Seconds] = Field({}, description="Objectives of TPOT by the request's SLO class.")
    prefill_tokens_per_s: Rate = Field(10_000.0, description="Prompt tokens a second that a replica computes.")
    pool_prefill_tokens_per_s: dict[str, Rate] = Field({}, description="The same by pool, where pools differ.")
    step_ms: float = Field(8.0, ge=0, le=1e6, description="Time of a decode step with no request.")
    step_ms_per_request: float = Field(0.1, ge=0, le=1e6, description="What each request adds to a decode step.")
    ttft_weight: float = Field(0.8, ge=0, le=1e6, description="Weight of the relative headroom of TTFT.")
    tpot_weight: float = Field(0.2, ge=0, le=1e6, description="Weight of the relative headroom of TPOT.")
    strategy: Literal["least", "most"] = Field(
        "most", description="Whether, among replicas that meet both, the least headroom wins (packs) or the most."
    )


@ROUTING_POLICIES.register("slo_aware", SloAwareOptions)
class SloAware(RoutingPolicy):
    """The candidate with the best predicted headroom."""

    observes_responses: ClassVar = True
    observes_first_tokens: ClassVar = True
    options: SloAwareOptions

    def __init__(self, options: SloAwareOptions, candidates: Candidates) -> None:
        super().__init__(options, candidates)
        self._prefill = WorkInFlight(candidates.count)
        self._counts = [0] * candidates.count
        self._ties = TieBreak(candidates.seed, takes_first=options.ties == "first")

    def choose(self, request: Request, now_ns: int, eligible: Sequence[int] | None) -> int:
        """Return the best position, and count the request there."""
        positions = range(len(self._counts)) if eligible is None else eligible
        ranks = [self._rank(request, position) for position in positions]
        best = max(ranks)
        equal = [position for position, rank in zip(positions, ranks, strict=True) if rank == best]
        chosen = self._ties.one_of(equal, request.request_id)
        self._prefill.add(chosen, request.request_id, request.prompt_tokens)
        self._counts[chosen] += 1
        return chosen

    def _rank(self, request: Request, position: int) -> tuple[bool, float]:
        """Return whether both objectives are met, and a score that is better if higher."""
        options = self.options
        slo_class = request.attributes.slo_class
        ttft_slo_s = options.class_ttft_s.get(slo_class, options.ttft_s)
        tpot_slo_s = options.class_tpot_s.get(slo_class, options.tpot_s)
        member = self.candidates.members[position]
        rate = options.pool_prefill_tokens_per_s.get(member.pool, options.prefill_tokens_per_s)
        tokens = self._prefill.amounts[position] + request.prompt_tokens
        ttft_s = self.candidates.forward_ns[position] / NS_PER_S + tokens / rate
        tpot_s = (options.step_ms + options.step_ms_per_request * (self._counts[position] + 1)) / 1e3
        meets = ttft_s <= ttft_slo_s and tpot_s <= tpot_slo_s
        headroom = options.ttft_weight * (1 - ttft_s / ttft_slo_s) + options.tpot_weight * (1 - tpot_s / tpot_slo_s)
        return meets, -headroom if meets and options.strategy == "least" else headroom

    def on_join(self, position: int) -> None:
        """Start its counts at none."""
        self._prefill.grow(position + 1)
        self._counts.append(0)

    def on_first_token(self, position: int, request: Request) -> None:
        """Count the prompt as computed."""
        self._prefill.remove(position, request.request_id)

    def on_end(self, position: int, request: Request) -> None:
        """Count one request less."""
        self._prefill.remove(position, request.request_id)
        self._counts[position] -= 1
