"""Scorer of running requests.

Source: gateway-api-inference-extension, ``pkg/epp/scheduling/framework/plugins/scorer/running.go``.
"""

from typing import ClassVar, Literal

from cluster_sim.routing.endpoint_picker.decision import Decision
from cluster_sim.routing.endpoint_picker.endpoints import Positions, Scores
from cluster_sim.routing.endpoint_picker.parts import SCORERS, PartContext, PartOptions, Scorer
from cluster_sim.routing.endpoint_picker.scaling import fewest_first


class RunningRequestsOptions(PartOptions):
    """Fewest running requests: (max - running) / (max - min) over the candidates; all 1 where they are equal."""

    type: Literal["running-requests-size-scorer"] = "running-requests-size-scorer"


@SCORERS.register("running-requests-size-scorer", RunningRequestsOptions)
class RunningRequestsScorer(Scorer):
    """The fewer run, the better."""

    sampled_fields: ClassVar = ("running",)

    def __init__(self, options: RunningRequestsOptions, context: PartContext) -> None:
        super().__init__(context)

    def scores(self, decision: Decision, positions: Positions) -> Scores:
        """Return the linear scale from the most to the fewest running requests."""
        return fewest_first(decision.endpoints.of(positions, decision.endpoints.running))
