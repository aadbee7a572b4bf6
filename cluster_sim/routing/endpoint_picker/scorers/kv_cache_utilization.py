"""Scorer of KV usage.

Source: gateway-api-inference-extension, ``pkg/epp/scheduling/framework/plugins/scorer/kvcache_utilization.go``.
"""

from typing import ClassVar, Literal

from cluster_sim.routing.endpoint_picker.decision import Decision
from cluster_sim.routing.endpoint_picker.endpoints import Positions, Scores
from cluster_sim.routing.endpoint_picker.parts import SCORERS, PartContext, PartOptions, Scorer


class KvCacheUtilizationOptions(PartOptions):
    """Emptiest KV cache: 1 - KV usage."""

    type: Literal["kv-cache-utilization-scorer"] = "kv-cache-utilization-scorer"


@SCORERS.register("kv-cache-utilization-scorer", KvCacheUtilizationOptions)
class KvCacheUtilizationScorer(Scorer):
    """The emptier the cache, the better."""

    sampled_fields: ClassVar = ("kv_used_ratio",)

    def __init__(self, options: KvCacheUtilizationOptions, context: PartContext) -> None:
        super().__init__(context)

    def scores(self, decision: Decision, positions: Positions) -> Scores:
        """Return the share of blocks that are free."""
        result: Scores = 1.0 - decision.endpoints.of(positions, decision.endpoints.kv_used)
        return result
