"""Requests are shed whose first token would come too late."""

from typing import ClassVar, Literal

from pydantic import Field

from cluster_sim.options import ConfigModel
from cluster_sim.recording.reasons import SLO_UNREACHABLE
from cluster_sim.routing.flow_control.shedder_interface import SHEDDERS, Load, Shedder, is_sheddable
from cluster_sim.routing.flow_control.slo_targets import SloTargets
from cluster_sim.workload.request import Request


class SloAwareOptions(ConfigModel):
    """Requests whose estimated time to first token is above their target; observes when requests end."""

    kind: Literal["slo_aware"] = "slo_aware"
    targets: SloTargets = Field(SloTargets(), description="Times to first token that requests should keep.")
    tolerance_ratio: float = Field(
        0.0, ge=0, le=1000, description="Share above its target up to which a request is still taken."
    )
    sheds_all: bool = Field(True, description="Whether requests of every priority may be shed.")


@SHEDDERS.register("slo_aware", SloAwareOptions)
class SloAware(Shedder):
    """Sheds what cannot keep its target of time to first token.

    The estimate is the time that the queue before the request takes to drain, at the recent mean interval between two
    requests that leave it, plus the recent mean time from dispatch to first token.  The rule, to reject a request that
    no endpoint can serve within its objective, is that of llm-d's latency-slo-admitter (520af478); that predicts with a
    trained model.
    """

    observes_first_tokens: ClassVar = True

    def __init__(self, options: SloAwareOptions, seed: int) -> None:
        self._targets = options.targets
        self._tolerance = options.tolerance_ratio
        self._sheds_all = options.sheds_all

    def reason(self, request: Request, load: Load, now_ns: int) -> str | None:
        target_ns = self._targets.ttft_ns(request)
        if target_ns is None or load.first_token_ns is None or not (self._sheds_all or is_sheddable(request)):
            return None
        wait_ns = (load.drain_interval_ns or 0) * load.queued
        estimate_ns = now_ns - request.arrival_ns + wait_ns + load.first_token_ns
        return SLO_UNREACHABLE if estimate_ns > target_ns * (1 + self._tolerance) else None
