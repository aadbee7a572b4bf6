"""Ray Serve LLM's prefix-aware routing: the longest prefix that the router has sent somewhere, else the smallest tree.

Source: ray-project/ray, ``ray.llm._internal.serve.routing_policies.prefix_aware``.  While max - min
queue lengths are at most ``imbalanced_threshold``, the replicas with the longest match are taken if it is at least
``match_rate_threshold`` of the prompt, else those with the fewest tokens in the tree; of several the shortest queue.
Otherwise the power of two choices.  The tree counts tokens here where the router counts characters (four a token).
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from cluster_sim.options import LONGEST_RUN_S
from cluster_sim.routing.candidates import Candidates
from cluster_sim.routing.options import RouterOptions
from cluster_sim.routing.policy_interface import ROUTING_POLICIES, RoutingPolicy
from cluster_sim.routing.policy_parts.prefix_tree import PrefixTree
from cluster_sim.routing.policy_parts.queue_pairs import QueuePairs
from cluster_sim.serving.kv_cache.content import Content, content_of
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.request import Request


class RayServePrefixAwareOptions(RouterOptions):
    """Ray Serve LLM's router: the longest known prefix, else the smallest tree; observes when requests end."""

    policy: Literal["ray_serve_prefix_aware"] = Field(
        "ray_serve_prefix_aware", description="Ray Serve LLM's prefix-aware routing."
    )
    imbalanced_threshold: int | None = Field(
        None, ge=0, le=10**9, description="Most difference of queue lengths of an even load; null: any is even."
    )
    match_rate_threshold: float = Field(0.1, ge=0, le=1, description="Least share of the prompt that must match.")
    do_eviction: bool = Field(False, description="Whether the tree is cut back.")
    eviction_threshold_tokens: int = Field(
        100_000, ge=1, le=2**40, description="Tokens of a replica in the tree above which it is cut back."
    )
    eviction_target_tokens: int = Field(
        90_000, ge=0, le=2**40, description="Tokens of a replica in the tree that are left then."
    )
    eviction_interval_s: float = Field(10.0, gt=0, le=LONGEST_RUN_S, description="Time between two such looks.")
    max_ongoing_requests: int = Field(
        10**9, ge=1, le=10**9, description="Requests in flight at which a replica accepts no more (Serve LLM: 10^9)."
    )


@ROUTING_POLICIES.register("ray_serve_prefix_aware", RayServePrefixAwareOptions)
class RayServePrefixAware(RoutingPolicy):
    """The shortest queue among the longest matches."""

    observes_responses: ClassVar = True
    options: RayServePrefixAwareOptions

    def __init__(self, options: RayServePrefixAwareOptions, candidates: Candidates) -> None:
        super().__init__(options, candidates)
        self._queues = QueuePairs(candidates, options.max_ongoing_requests, takes_first=options.ties == "first")
        self._tree = PrefixTree()
        self._interval_ns = round(options.eviction_interval_s * NS_PER_S)
        self._looked = 0
        """Intervals whose looks are done."""

    def choose(self, request: Request, now_ns: int, eligible: Sequence[int] | None) -> int:
        """Return the chosen position; count the request and insert its prompt there."""
        self._cut_back(now_ns)
        content = content_of(request)
        queues, request_id = self._queues, request.request_id
        positions = range(self.candidates.count) if eligible is None else eligible
        most_difference = self.options.imbalanced_threshold
        lengths = [queues.lengths[position] for position in positions]
        if most_difference is not None and max(lengths) - min(lengths) > most_difference:
            chosen = queues.choose(request_id, positions)
        else:
            chosen = queues.shortest(request_id, self._preferred(request, content, positions))
            if queues.lengths[chosen] >= self.options.max_ongoing_requests:
                chosen = queues.choose(request_id, positions)
        queues.lengths[chosen] += 1
        self._tree.insert(content, request.prompt_tokens, chosen, now_ns)
        return chosen

    def _preferred(self, request: Request, content: Content, positions: Sequence[int]) -> Sequence[int]:
        """Return the positions with the longest match, or the smallest trees."""
        found = self._tree.matches(content, request.prompt_tokens)
        matched = [found.get(position, 0) for position in positions]
        longest = max(matched)
        if longest and longest >= self.options.match_rate_threshold * request.prompt_tokens:
            return [position for position, tokens in zip(positions, matched, strict=True) if tokens == longest]
        held = [self._tree.held(position) for position in positions]
        smallest = min(held)
        return [position for position, tokens in zip(positions, held, strict=True) if tokens == smallest]

    def _cut_back(self, now_ns: int) -> None:
        """Do the looks that have fallen due since the last choice."""
        due = now_ns // self._interval_ns
        if due == self._looked:
            return
        self._looked = due
        options = self.options
        if options.do_eviction:
            for position in range(self.candidates.count):
                if self._tree.held(position) > options.eviction_threshold_tokens:
                    self._tree.shrink(position, options.eviction_target_tokens)

    def on_join(self, position: int) -> None:
        """Start its queue empty."""
        self._queues.lengths.append(0)

    def on_leave(self, position: int) -> None:
        """Forget its tree."""
        self._tree.remove(position)

    def on_end(self, position: int, request: Request) -> None:
        """Count one request less."""
        self._queues.lengths[position] -= 1
