"""Predictions of latency for the parts of the endpoint picker that hold endpoints against objectives.

llm-d trains a model on measured requests beside the router.  Here the pool's own figures say what a step costs, so

    TTFT = step + (prompt tokens sent there without a first token yet + uncached tokens of the request) x time a token
    TPOT = step + (running requests, as sampled, + 1) x time a request

where step is a decode step of an empty batch.  What a perfectly trained model would know is about this; how requests
will be batched it knows as little.  Endpoints whose figures are not known have no predictions.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cluster_sim.routing.endpoint_picker.decision import Decision
from cluster_sim.routing.endpoint_picker.endpoints import Endpoints, Positions
from cluster_sim.routing.endpoint_picker.parts import PartContext


class Headrooms(NamedTuple):
    """What is left of a request's objectives at each endpoint, in ns; negative where it would miss them."""

    ttft_ns: NDArray[np.float64]
    tpot_ns: NDArray[np.float64]

    @property
    def is_positive(self) -> NDArray[np.bool_]:
        """Whether both objectives would be met."""
        result: NDArray[np.bool_] = (self.ttft_ns >= 0) & (self.tpot_ns >= 0)
        return result


class LatencyPredictor:
    """Predicts what a request would meet at each endpoint."""

    def __init__(self, context: PartContext) -> None:
        self._endpoints = context.endpoints
        self._objectives = context.objectives
        self._prefixes = context.prefixes

    def is_known(self) -> bool:
        """Whether every endpoint's figures are known."""
        return bool(self._endpoints.has_step_figures.all())

    def ttft_ns(self, decision: Decision, positions: Positions) -> NDArray[np.float64]:
        """Return the time to the first token at each endpoint, without links."""
        endpoints: Endpoints = self._endpoints
        source = self._prefixes("")
        own = source.uncached_tokens(decision)[positions] if source else decision.request.prompt_tokens
        tokens = endpoints.unprefilled_tokens[positions] + own
        result: NDArray[np.float64] = endpoints.step_ns[positions] + tokens * endpoints.token_ns[positions]
        return result

    def tpot_ns(self, decision: Decision, positions: Positions) -> NDArray[np.float64]:
        """Return the time between tokens at each endpoint."""
        endpoints: Endpoints = self._endpoints
        requests = endpoints.running[positions] + 1
        result: NDArray[np.float64] = endpoints.step_ns[positions] + requests * endpoints.request_ns[positions]
        return result

    def headrooms(self, decision: Decision, positions: Positions) -> Headrooms:
        """Return what is left of the objectives of the request's class; an objective that it has not is 0."""
        objectives = self._objectives
        slo_class = decision.request.attributes.slo_class
        ttft_ns, tpot_ns = objectives.get(slo_class) or objectives.get("", (0, 0))
        return Headrooms(ttft_ns - self.ttft_ns(decision, positions), tpot_ns - self.tpot_ns(decision, positions))
