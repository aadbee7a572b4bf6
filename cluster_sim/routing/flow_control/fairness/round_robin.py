"""Flows take turns."""

from collections.abc import Mapping
from typing import Literal

from cluster_sim.options import ConfigModel
from cluster_sim.routing.flow_control.fairness_interface import FAIRNESS, Fairness, Head


class RoundRobinOptions(ConfigModel):
    """Flows with waiting requests take turns, in the order of their names."""

    kind: Literal["round_robin"] = "round_robin"


@FAIRNESS.register("round_robin", RoundRobinOptions)
class RoundRobin(Fairness):
    """The next flow by name after the one that was served last.

    Source: llm-d-inference-scheduler 520af478, flow control's round-robin-fairness-policy.
    """

    def __init__(self, options: RoundRobinOptions) -> None:
        self._last: str | None = None

    def choose(self, heads: Mapping[str, Head]) -> str:
        later = [flow for flow in heads if self._last is not None and flow > self._last]
        self._last = min(later or heads)
        return self._last
