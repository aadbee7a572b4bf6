"""AIBrix's prefix-cache routing: the longest known prefix among pods that are not far busier than the others.

Source: vllm-project/aibrix, pkg/plugins/gateway/algorithms/prefix_cache.go.  If max - min running requests, as the
gateway counts them, is above a threshold, the fewest running.  Otherwise pods with a match, the best match first and
the fewest running next: the first whose running requests are at most mean + factor x standard deviation of all
pods.  If there is none, the fewest running.  The shipped chart and the code differ in threshold and factor.  Prompts
are known in blocks (128 characters by default) that a pod keeps for 20 minutes after the last request with them.
"""

import math
from collections.abc import Sequence
from typing import ClassVar, Final, Literal

from pydantic import Field

from cluster_sim.options import LONGEST_RUN_S
from cluster_sim.routing.candidates import Candidates
from cluster_sim.routing.options import RouterOptions
from cluster_sim.routing.policy_interface import ROUTING_POLICIES, RoutingPolicy
from cluster_sim.routing.policy_parts.prefix_tree import PrefixTree
from cluster_sim.routing.policy_parts.tie_break import TieBreak
from cluster_sim.serving.kv_cache.content import content_of
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.request import Request

_THRESHOLDS: Final = {"chart": 16, "code": 8}
_FACTORS: Final = {"chart": 2.0, "code": 1.0}


class AibrixPrefixCacheOptions(RouterOptions):
    """AIBrix's gateway: the longest known prefix on a pod that is not too busy; observes when requests end."""

    policy: Literal["aibrix_prefix_cache"] = Field("aibrix_prefix_cache", description="AIBrix's prefix-cache routing.")
    defaults: Literal["chart", "code"] = Field("chart", description="Defaults of the shipped chart, or of the code.")
    imbalance_threshold: int | None = Field(
        None, ge=0, le=10**9, description="Difference of running requests above which the fewest win; null: 16 or 8."
    )
    deviation_factor: float | None = Field(
        None, ge=0, le=1e6, description="Standard deviations over the mean that a match may be busier; null: 2 or 1."
    )
    block_tokens: int = Field(32, ge=1, le=10**6, description="Tokens of a block: 32 for 128 characters, or 16.")
    keep_s: float = Field(1200.0, gt=0, le=LONGEST_RUN_S, description="Time that a block is known after its last use.")


@ROUTING_POLICIES.register("aibrix_prefix_cache", AibrixPrefixCacheOptions)
class AibrixPrefixCache(RoutingPolicy):
    """The best match that is not too busy, else the fewest running."""

    observes_responses: ClassVar = True

    def __init__(self, options: AibrixPrefixCacheOptions, candidates: Candidates) -> None:
        super().__init__(options, candidates)
        threshold, factor = options.imbalance_threshold, options.deviation_factor
        self._threshold = _THRESHOLDS[options.defaults] if threshold is None else threshold
        self._factor = _FACTORS[options.defaults] if factor is None else factor
        self._block_tokens = options.block_tokens
        self._tree = PrefixTree(round(options.keep_s * NS_PER_S))
        self._running = [0] * candidates.count
        self._ties = TieBreak(candidates.seed, takes_first=options.ties == "first")

    def choose(self, request: Request, now_ns: int, eligible: Sequence[int] | None) -> int:
        """Return the chosen position; count the request and note its prompt there."""
        self._tree.expire(now_ns)
        content = content_of(request)
        tokens = request.prompt_tokens // self._block_tokens * self._block_tokens
        positions = range(len(self._running)) if eligible is None else eligible
        counts = [self._running[position] for position in positions]
        chosen = -1
        if max(counts) - min(counts) <= self._threshold:
            found = self._tree.matches(content, tokens)
            chosen = self._matched(request.request_id, found, positions, counts)
        if chosen < 0:
            chosen = self._ties.least(positions, self._running, request.request_id)
        self._running[chosen] += 1
        self._tree.insert(content, tokens, chosen, now_ns)
        return chosen

    def _matched(self, request_id: int, found: dict[int, int], positions: Sequence[int], counts: Sequence[int]) -> int:
        """Return the position of the best match that is not too busy, -1 if there is none."""
        total, size = sum(counts), len(counts)
        variance = (sum(count * count for count in counts) - total * total / size) / size
        most = total / size + self._factor * math.sqrt(max(variance, 0.0))
        best: list[tuple[int, int]] = []
        for position, running in zip(positions, counts, strict=True):
            blocks = found.get(position, 0) // self._block_tokens
            if blocks and running <= most:
                best.append((-blocks, running))
        if not best:
            return -1
        blocks, running = min(best)
        equal = [
            position
            for position, count in zip(positions, counts, strict=True)
            if count == running and found.get(position, 0) // self._block_tokens == -blocks
        ]
        return self._ties.one_of(equal, request_id)

    def on_join(self, position: int) -> None:
        """Start its count at none."""
        self._running.append(0)

    def on_leave(self, position: int) -> None:
        """Forget its blocks."""
        self._tree.remove(position)

    def on_end(self, position: int, request: Request) -> None:
        """Count one request less."""
        self._running[position] -= 1
