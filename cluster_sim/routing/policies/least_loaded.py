"""Least loaded: fewest requests that run or wait, as telemetry shows them."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from cluster_sim.routing.candidates import Candidates
from cluster_sim.routing.options import RouterOptions
from cluster_sim.routing.policy_interface import ROUTING_POLICIES, RoutingPolicy
from cluster_sim.routing.policy_parts.sampled_loads import SampledLoads
from cluster_sim.serving.messages import Sample
from cluster_sim.workload.request import Request


class LeastLoadedOptions(RouterOptions):
    """The replica with the fewest running and waiting requests; reads telemetry."""

    policy: Literal["least_loaded"] = Field("least_loaded", description="Fewest running and waiting requests.")


@ROUTING_POLICIES.register("least_loaded", LeastLoadedOptions)
class LeastLoaded(RoutingPolicy):
    """The candidate with the fewest running and waiting requests."""

    sampled_fields: ClassVar = ("running", "waiting")

    def __init__(self, options: LeastLoadedOptions, candidates: Candidates) -> None:
        super().__init__(options, candidates)
        self._loads = SampledLoads(self.observation, candidates, takes_first=options.ties == "first")

    def choose(self, request: Request, now_ns: int, eligible: Sequence[int] | None) -> int:
        """Return the position of the least load."""
        return self._loads.dispatch(request.request_id, now_ns, eligible)

    def on_join(self, position: int) -> None:
        """Start its load at none."""
        self._loads.grow(position + 1)

    def on_sample(self, position: int, sample: Sample) -> None:
        """Count running and waiting requests alike."""
        self._loads.set(position, sample.running + sample.waiting)
