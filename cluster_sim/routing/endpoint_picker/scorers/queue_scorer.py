"""Scorer of waiting requests.

Source: gateway-api-inference-extension, ``pkg/epp/scheduling/framework/plugins/scorer/queue.go``.
"""

from typing import ClassVar, Literal

from cluster_sim.routing.endpoint_picker.decision import Decision
from cluster_sim.routing.endpoint_picker.endpoints import Positions, Scores
from cluster_sim.routing.endpoint_picker.parts import SCORERS, PartContext, PartOptions, Scorer
from cluster_sim.routing.endpoint_picker.scaling import fewest_first


class QueueOptions(PartOptions):
    """Fewest waiting requests: (max - waiting) / (max - min) over the candidates; all 1 where they are equal."""

    type: Literal["queue-scorer"] = "queue-scorer"


@SCORERS.register("queue-scorer", QueueOptions)
class QueueScorer(Scorer):
    """The fewer wait, the better."""

    sampled_fields: ClassVar = ("waiting",)

    def __init__(self, options: QueueOptions, context: PartContext) -> None:
        super().__init__(context)

    def scores(self, decision: Decision, positions: Positions) -> Scores:
        """Return the linear scale from the longest to the shortest queue."""
        return fewest_first(decision.endpoints.of(positions, decision.endpoints.waiting))
