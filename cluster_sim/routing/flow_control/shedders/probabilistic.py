"""Requests are shed at random, the more the busier the replicas are."""

from typing import Literal

from pydantic import Field

from cluster_sim.engine.draws import draw_u64, stream_key
from cluster_sim.options import ConfigModel
from cluster_sim.recording.reasons import SHED_SATURATION
from cluster_sim.routing.flow_control.shedder_interface import SHEDDERS, Load, Shedder, is_sheddable
from cluster_sim.workload.request import Request


class ProbabilisticOptions(ConfigModel):
    """Sheddable requests are shed with probability min(1, factor x saturation ^ exponent)."""

    kind: Literal["probabilistic"] = "probabilistic"
    factor: float = Field(300.0, gt=0, le=1e9, description="Factor of the probability.")
    exponent: float = Field(5.0, gt=0, le=100, description="Power of the saturation.")
    sheds_all: bool = Field(False, description="Whether requests of every priority may be shed.")


@SHEDDERS.register("probabilistic", ProbabilisticOptions)
class Probabilistic(Shedder):
    """Sheds with a probability that grows with the saturation; the draw is keyed by the request.

    Source: llm-d-inference-scheduler 520af478, probabilistic-admitter: min(1, 300 x saturation^5).
    """

    def __init__(self, options: ProbabilisticOptions, seed: int) -> None:
        self._factor = options.factor
        self._exponent = options.exponent
        self._sheds_all = options.sheds_all
        self._key = stream_key(seed, "router", "shedding")

    def probability(self, saturation: float) -> float:
        """Return the probability of shedding at a saturation."""
        return float(min(1.0, self._factor * saturation**self._exponent))

    def reason(self, request: Request, load: Load, now_ns: int) -> str | None:
        if not (self._sheds_all or is_sheddable(request)):
            return None
        threshold = int(self.probability(load.saturation) * (1 << 53))
        return SHED_SATURATION if draw_u64(self._key, request.request_id) >> 11 < threshold else None
