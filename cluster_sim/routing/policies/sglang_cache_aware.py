"""SGLang's cache-aware routing: the longest prefix that the router has sent somewhere, while loads are even.

Source: sgl-project/sglang, sgl-router/src/policies/cache_aware.rs.  If max - min > ``balance_abs_threshold`` and max
> ``balance_rel_threshold`` x min requests in flight, the least loaded worker gets the request.  Otherwise the
longest match in the router's own tree decides if it is more than ``cache_threshold`` of the prompt; if not, the
least loaded worker (current routers) or the one with the smallest tree (older ones).  The prompt is inserted for the
chosen worker either way. The tree counts tokens here where the router counts characters.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from cluster_sim.options import LONGEST_RUN_S
from cluster_sim.routing.candidates import Candidates
from cluster_sim.routing.options import RouterOptions
from cluster_sim.routing.policy_interface import ROUTING_POLICIES, RoutingPolicy
from cluster_sim.routing.policy_parts.prefix_tree import PrefixTree
from cluster_sim.routing.policy_parts.tie_break import TieBreak
from cluster_sim.serving.kv_cache.content import Content, content_of
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.request import Request


class CacheAwareOptions(RouterOptions):
    """SGLang's router: the longest known prefix while loads are even; observes when requests end."""

    policy: Literal["cache_aware"] = Field("cache_aware", description="SGLang's cache-aware routing.")
    cache_threshold: float = Field(
        0.3, ge=0, le=1, description="Share of the prompt that must match, more than this, to follow the match."
    )
    balance_abs_threshold: int = Field(
        64, ge=0, le=10**9, description="Difference of requests in flight above which loads may be uneven."
    )
    balance_rel_threshold: float = Field(
        1.5, ge=1, le=1e9, description="Ratio of requests in flight above which loads are uneven, if both are exceeded."
    )
    on_miss: Literal["least_loaded", "smallest_tree"] = Field(
        "least_loaded", description="Where prompts without a match go: current routers, or older ones."
    )
    eviction_interval_s: float = Field(
        120.0, gt=0, le=LONGEST_RUN_S, description="Time between two evictions from the tree."
    )
    max_tree_tokens: int = Field(
        2**24, ge=1, le=2**40, description="Tokens of a replica that an eviction leaves (2^26 characters)."
    )


@ROUTING_POLICIES.register("cache_aware", CacheAwareOptions)
class CacheAware(RoutingPolicy):
    """The longest match in the router's own tree, or the least loaded candidate."""

    observes_responses: ClassVar = True

    def __init__(self, options: CacheAwareOptions, candidates: Candidates) -> None:
        super().__init__(options, candidates)
        self._threshold = options.cache_threshold
        self._difference = options.balance_abs_threshold
        self._ratio = options.balance_rel_threshold
        self._takes_smallest = options.on_miss == "smallest_tree"
        self._most_tokens = options.max_tree_tokens
        self._interval_ns = round(options.eviction_interval_s * NS_PER_S)
        self._evicted = 0
        """Intervals whose evictions are done."""
        self._tree = PrefixTree()
        self._counts = [0] * candidates.count
        self._ties = TieBreak(candidates.seed, takes_first=options.ties == "first")

    def choose(self, request: Request, now_ns: int, eligible: Sequence[int] | None) -> int:
        """Return the chosen position; count the request and insert its prompt there."""
        self._evict(now_ns)
        content = content_of(request)
        positions = range(len(self._counts)) if eligible is None else eligible
        chosen = self._chosen(request, content, positions)
        self._counts[chosen] += 1
        self._tree.insert(content, request.prompt_tokens, chosen, now_ns)
        return chosen

    def _chosen(self, request: Request, content: Content, positions: Sequence[int]) -> int:
        counts, ties, request_id = self._counts, self._ties, request.request_id
        loads = [counts[position] for position in positions]
        least, most = min(loads), max(loads)
        if most - least > self._difference and most > self._ratio * least:
            return ties.least(positions, counts, request_id)
        match = self._tree.match(content, request.prompt_tokens)
        if match.tokens > self._threshold * request.prompt_tokens:
            holders = [position for position in match.holders if position in positions]
            if holders:
                return ties.one_of(holders, request_id)
        if self._takes_smallest:
            held = [self._tree.held(position) for position in range(len(counts))]
            return ties.least(positions, held, request_id)
        return ties.least(positions, counts, request_id)

    def _evict(self, now_ns: int) -> None:
        """Do the evictions that have fallen due since the last choice; nothing was inserted between them."""
        due = now_ns // self._interval_ns
        if due > self._evicted:
            self._evicted = due
            for position in range(len(self._counts)):
                self._tree.shrink(position, self._most_tokens)

    def on_join(self, position: int) -> None:
        """Start its count at none."""
        self._counts.append(0)

    def on_leave(self, position: int) -> None:
        """Forget its tree."""
        self._tree.remove(position)

    def on_end(self, position: int, request: Request) -> None:
        """Count one request less."""
        self._counts[position] -= 1
