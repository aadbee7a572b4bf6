"""Prefix-aware routing of the vLLM production-stack: a random one of the engines that got the longest prefix.

Source: vllm-project/production-stack, ``vllm_router.routers.routing_logic`` and ``prefix.hashtrie``: a trie of
chunks of 128 characters (32 tokens here) that is never cut back; a prompt without a match goes to a random engine.
"""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from cluster_sim.routing.candidates import Candidates
from cluster_sim.routing.options import RouterOptions
from cluster_sim.routing.policy_interface import ROUTING_POLICIES, RoutingPolicy
from cluster_sim.routing.policy_parts.prefix_tree import PrefixTree
from cluster_sim.routing.policy_parts.tie_break import TieBreak
from cluster_sim.serving.kv_cache.content import content_of
from cluster_sim.workload.request import Request


class ProductionStackPrefixAwareOptions(RouterOptions):
    """vLLM production-stack's prefix-aware routing: who got the longest prefix, at random; observes nothing."""

    policy: Literal["production_stack_prefix_aware"] = Field(
        "production_stack_prefix_aware", description="The vLLM production-stack's prefix-aware routing."
    )
    chunk_tokens: int = Field(32, ge=1, le=10**6, description="Tokens of a chunk of the trie.")


@ROUTING_POLICIES.register("production_stack_prefix_aware", ProductionStackPrefixAwareOptions)
class ProductionStackPrefixAware(RoutingPolicy):
    """One of the candidates that got the longest prefix."""

    def __init__(self, options: ProductionStackPrefixAwareOptions, candidates: Candidates) -> None:
        super().__init__(options, candidates)
        self._chunk_tokens = options.chunk_tokens
        self._tree = PrefixTree()
        self._draw = TieBreak(candidates.seed, takes_first=False)

    def choose(self, request: Request, now_ns: int, eligible: Sequence[int] | None) -> int:
        """Return the chosen position, and insert the prompt there."""
        positions = range(self.candidates.count) if eligible is None else eligible
        content = content_of(request)
        tokens = request.prompt_tokens // self._chunk_tokens * self._chunk_tokens
        found = self._tree.matches(content, tokens)
        chunks = [found.get(position, 0) // self._chunk_tokens for position in positions]
        longest = max(chunks)
        equal = [position for position, matched in zip(positions, chunks, strict=True) if matched == longest]
        chosen = self._draw.one_of(equal, request.request_id)
        self._tree.insert(content, tokens, chosen, now_ns)
        return chosen

    def on_leave(self, position: int) -> None:
        """Forget its prompts."""
        self._tree.remove(position)
