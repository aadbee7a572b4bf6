"""Targets of time to first token by service class, for what orders and sheds by them."""

from pydantic import Field

from cluster_sim.options import LONGEST_RUN_S, ConfigModel
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.request import Request


class ClassTarget(ConfigModel):
    """The target of one service class."""

    slo_class: str = Field(min_length=1, description="Service class, a trait of the workload.")
    ttft_s: float = Field(gt=0, le=LONGEST_RUN_S, description="Time to first token that its requests should keep.")


class SloTargets(ConfigModel):
    """Time to first token that requests should keep."""

    ttft_s: float | None = Field(
        None, gt=0, le=LONGEST_RUN_S, description="Target of requests whose class has none; null is no target."
    )
    classes: tuple[ClassTarget, ...] = Field((), max_length=1000, description="Targets by service class.")

    def ttft_ns(self, request: Request) -> int | None:
        """Return the target of a request in ns, if it has one."""
        slo_class = request.attributes.slo_class
        ttft_s = next((target.ttft_s for target in self.classes if target.slo_class == slo_class), self.ttft_s)
        return None if ttft_s is None else round(ttft_s * NS_PER_S)

    def deadline_ns(self, request: Request) -> int | None:
        """Return when a request's first token should be there, if it has a target."""
        ttft_ns = self.ttft_ns(request)
        return None if ttft_ns is None else request.arrival_ns + ttft_ns
