"""Scorer that spreads requests without any cached prefix over endpoints.

Source: llm-d-inference-scheduler, ``pkg/plugins/scorer/no_hit_lru.go``.
"""

from typing import Literal

import numpy as np
from pydantic import Field

from cluster_sim.routing.endpoint_picker.decision import Decision, Selection
from cluster_sim.routing.endpoint_picker.endpoints import Positions, Scores
from cluster_sim.routing.endpoint_picker.parts import SCORERS, PartContext, PartOptions, Scorer


class NoHitLruOptions(PartOptions):
    """Cold requests go to the endpoint that served one longest ago, 1 down to 0; warm ones score 0.5 everywhere."""

    type: Literal["no-hit-lru-scorer"] = "no-hit-lru-scorer"
    lru_size: int = Field(1024, ge=1, le=1 << 31, description="Endpoints that are remembered.")
    prefix_plugin_name: str = Field("", description="The part that knows matches; the first one if empty.")


@SCORERS.register("no-hit-lru-scorer", NoHitLruOptions)
class NoHitLruScorer(Scorer):
    """Cold requests take turns."""

    def __init__(self, options: NoHitLruOptions, context: PartContext) -> None:
        super().__init__(context)
        self._size = options.lru_size
        self._source = options.prefix_plugin_name
        self._prefixes = context.prefixes
        self._used: dict[int, None] = {}
        """Endpoints that served a cold request, the one of longest ago first."""
        self._last = np.zeros(context.endpoints.count, np.int64)
        """When that was, in turns; 0 is never."""
        self._turn = 0

    def scores(self, decision: Decision, positions: Positions) -> Scores:
        """Return 1 for the endpoint first in turn down to 0 for the last."""
        if not self._is_cold(decision):
            return np.full(len(positions), 0.5)
        if len(positions) == 1:
            return np.ones(1)
        ranks = np.empty(len(positions), np.float64)
        ranks[np.argsort(self._last[positions], kind="stable")] = np.arange(len(positions))
        return 1.0 - ranks / (len(positions) - 1)

    def on_chosen(self, decision: Decision, selection: Selection) -> None:
        """Put the endpoints of a cold request last in turn."""
        if not self._is_cold(decision):
            return
        for position in selection.positions:
            self._turn += 1
            self._used.pop(position, None)
            self._used[position] = None
            self._last[position] = self._turn
            if len(self._used) > self._size:
                oldest = next(iter(self._used))
                del self._used[oldest]
                self._last[oldest] = 0

    def on_join(self, position: int) -> None:
        self._last = np.append(self._last, 0)

    def _is_cold(self, decision: Decision) -> bool:
        """Return whether no endpoint has any block of the prompt; so it is without a part that knows."""
        found = decision.findings.get(self.name)
        if found is None:
            source = self._prefixes(self._source)
            found = decision.findings[self.name] = source is None or not source.matched_blocks(decision).any()
        return bool(found)
