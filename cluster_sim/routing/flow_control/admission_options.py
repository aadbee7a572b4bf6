"""The ``admission`` block of a study: flow control and rate limits at the router."""

from typing import Literal

from pydantic import Field, field_validator

from cluster_sim.options import ConfigModel
from cluster_sim.routing.flow_control.detector_interface import DetectorBlock
from cluster_sim.routing.flow_control.fairness.round_robin import RoundRobinOptions
from cluster_sim.routing.flow_control.fairness_interface import FairnessBlock
from cluster_sim.routing.flow_control.ordering_interface import OrderingBlock
from cluster_sim.routing.flow_control.orderings.fcfs import FcfsOptions
from cluster_sim.routing.flow_control.queue_limits import QueueOptions
from cluster_sim.routing.flow_control.shedder_interface import ShedderBlock
from cluster_sim.routing.flow_control.token_buckets import RateLimit


class AdmissionOptions(ConfigModel):
    """Requests that wait at the router while replicas are saturated, and those that it turns away."""

    detector: DetectorBlock | None = Field(
        None, description="When replicas are saturated, so that requests wait at the router; null: never."
    )
    flow_by: Literal["tenant", "session", "none"] = Field(
        "tenant", description="Requests of one priority that form a flow: those of a tenant, of a session, or all."
    )
    ordering: OrderingBlock = Field(FcfsOptions(), description="Order of the requests within a flow.")
    fairness: FairnessBlock = Field(RoundRobinOptions(), description="Choice among the flows of one priority.")
    queue: QueueOptions = Field(QueueOptions(), description="Limits of the queues, and the time to live in them.")
    shedders: tuple[ShedderBlock, ...] = Field(
        (), max_length=16, description="Rules by which requests are turned away on arrival, asked in this order."
    )
    rate_limits: tuple[RateLimit, ...] = Field((), max_length=100_000, description="Rates that tenants may send at.")
    queues_saturated: bool = Field(
        True, description="Whether requests wait while replicas are saturated; otherwise only shedders read that."
    )
    filters_saturated: bool = Field(
        True, description="Whether a replica above its own limit gets no request while others may take one."
    )

    @field_validator("rate_limits")
    @classmethod
    def _one_limit_a_tenant(cls, rate_limits: tuple[RateLimit, ...]) -> tuple[RateLimit, ...]:
        tenants = [limit.tenant for limit in rate_limits]
        for tenant in tenants:
            if tenants.count(tenant) > 1:
                name = "every other tenant" if tenant is None else f"tenant {tenant!r}"
                raise ValueError(f"two limits are for {name}; give one")
        return rate_limits

    @property
    def is_active(self) -> bool:
        """Whether anything is limited."""
        return self.detector is not None or bool(self.shedders or self.rate_limits)
