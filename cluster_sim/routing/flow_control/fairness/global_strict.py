"""The first request of all flows together."""

from collections.abc import Mapping
from typing import Literal

from cluster_sim.options import ConfigModel
from cluster_sim.routing.flow_control.fairness_interface import FAIRNESS, Fairness, Head


class GlobalStrictOptions(ConfigModel):
    """The first request by the ordering, whichever flow it belongs to."""

    kind: Literal["global_strict"] = "global_strict"


@FAIRNESS.register("global_strict", GlobalStrictOptions)
class GlobalStrict(Fairness):
    """The flow whose first request has the smallest key.

    Source: llm-d-inference-scheduler 520af478, flow control's global-strict-fairness-policy.
    """

    def choose(self, heads: Mapping[str, Head]) -> str:
        return min(heads, key=lambda flow: heads[flow])
