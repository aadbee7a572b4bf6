"""Filter by labels, which do not change while an endpoint lives."""

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np

from cluster_sim.routing.endpoint_picker.decision import Decision
from cluster_sim.routing.endpoint_picker.endpoints import Positions
from cluster_sim.routing.endpoint_picker.parts import Filter, PartContext


class LabelFilter(Filter):
    """Keeps the endpoints whose labels match."""

    def __init__(self, context: PartContext) -> None:
        super().__init__(context)
        self._endpoints = context.endpoints
        self._passes = np.zeros(0, np.bool_)

    @abstractmethod
    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether an endpoint with these labels stays."""

    def keep(self, decision: Decision, positions: Positions) -> Positions:
        """Return the endpoints whose labels match."""
        labels, known = self._endpoints.labels, len(self._passes)
        if known < len(labels):
            self._passes = np.append(self._passes, [self.matches(each) for each in labels[known:]])
        result: Positions = positions[self._endpoints.of(positions, self._passes)]
        return result
