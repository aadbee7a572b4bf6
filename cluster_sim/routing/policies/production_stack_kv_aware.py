"""KV-aware routing of the vLLM production-stack: the instance with the longest cached prefix, if it misses little.

Source: vllm-project/production-stack, ``vllm_router.routers.routing_logic``, ``KvawareRouter``: the LMCache
controller names the instance that holds most of the prompt, in chunks of 256 tokens.  If nobody holds any of it, or
the best misses more than ``kv_aware_threshold`` tokens, the request is routed by its session
(``routing.session_ring``).
"""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from cluster_sim.options import LONGEST_RUN_S
from cluster_sim.routing.candidates import Candidate, Candidates
from cluster_sim.routing.options import RouterOptions
from cluster_sim.routing.policy_interface import ROUTING_POLICIES, RoutingPolicy
from cluster_sim.routing.policy_parts.session_ring import SessionRing
from cluster_sim.routing.policy_parts.tie_break import TieBreak
from cluster_sim.routing.prefix_index.approximate import ApproximatePrefixIndex
from cluster_sim.serving.kv_cache.content import content_of
from cluster_sim.serving.kv_cache.prefix_ranges import prefix_ranges
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.request import Request


class ProductionStackKvAwareOptions(RouterOptions):
    """vLLM production-stack's KV-aware routing: the longest cached prefix, else the session; observes nothing."""

    policy: Literal["production_stack_kv_aware"] = Field(
        "production_stack_kv_aware", description="The vLLM production-stack's KV-aware routing."
    )
    kv_aware_threshold: int = Field(
        2000, ge=0, le=10**9, description="Most tokens of the prompt that the longest match may miss."
    )
    chunk_tokens: int = Field(256, ge=1, le=10**6, description="Tokens of a chunk that LMCache looks up.")
    virtual_nodes: int = Field(160, ge=1, le=10_000, description="Points of each replica on the ring of sessions.")
    rate_window_s: float = Field(60.0, gt=0, le=LONGEST_RUN_S, description="Time over which request rates are counted.")


@ROUTING_POLICIES.register("production_stack_kv_aware", ProductionStackKvAwareOptions)
class ProductionStackKvAware(RoutingPolicy):
    """The longest match of prompts that were sent somewhere, or the session's candidate."""

    options: ProductionStackKvAwareOptions

    def __init__(self, options: ProductionStackKvAwareOptions, candidates: Candidates) -> None:
        super().__init__(options, candidates)
        takes_first = options.ties == "first"
        window_ns = round(options.rate_window_s * NS_PER_S)
        self._ring = SessionRing(candidates, options.virtual_nodes, window_ns, takes_first=takes_first)
        self._ties = TieBreak(candidates.seed, takes_first=takes_first)
        self._index = ApproximatePrefixIndex([self._chunks_of(member) for member in candidates.members])

    def choose(self, request: Request, now_ns: int, eligible: Sequence[int] | None) -> int:
        """Return the position of the longest match, or the session's."""
        positions = range(self.candidates.count) if eligible is None else eligible
        size, prompt = self.options.chunk_tokens, request.prompt_tokens
        ranges = prefix_ranges(content_of(request), prompt, size)
        matched = self._index.matched_blocks(ranges)
        longest = max([int(matched[position]) for position in positions])
        if longest and longest * size >= prompt - self.options.kv_aware_threshold:
            equal = [position for position in positions if matched[position] == longest]
            chosen = self._ties.one_of(equal, request.request_id)
        else:
            chosen = self._ring.choose(request, now_ns, positions)
        self._index.record(chosen, ranges)
        self._ring.note(chosen, now_ns)
        return chosen

    def _chunks_of(self, member: Candidate) -> int:
        """Return how many chunks the KV cache of a replica holds."""
        return max(1, member.kv_blocks * member.block_size // self.options.chunk_tokens)

    def on_join(self, position: int) -> None:
        """Put it on the ring; its cache is empty."""
        self._ring.add(position)
        self._index.on_join(self._chunks_of(self.candidates.members[position]))

    def on_leave(self, position: int) -> None:
        """Forget its cache."""
        self._index.forget(position)
