"""Loss of a node with several replicas."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from cluster_sim.errors import InputError
from cluster_sim.routing.faults.fault_effects import FaultEffect, FleetView, ReplicaFault
from cluster_sim.routing.faults.fault_interface import FAULT_KINDS, Fault, TargetedOptions
from cluster_sim.shown_values import counted


class NodeLossOptions(TargetedOptions):
    """All replicas of a node crash together and are back together, duration_s (600 s) later."""

    example: ClassVar[Mapping[str, Any]] = {"replicas": [0, 1], "at_s": 60}

    default_duration_s: ClassVar = 600.0

    kind: Literal["node_loss"] = "node_loss"
    replicas_per_node: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="Replicas of the pool on one node, in the order of their numbers.",
    )
    node: int | None = Field(
        None,
        ge=0,
        le=100_000,
        description="Node of the pool that is lost, from 0; null is every one, with drawn times.",
    )

    @model_validator(mode="after")
    def _knows_the_nodes(self) -> Self:
        if (self.pool is None) != (self.replicas_per_node is None):
            raise ValueError("needs replicas of one node, or pool with replicas_per_node")
        if self.pool is not None and (self.node is None) == (self.mtbf_s is None):
            raise ValueError("needs node with at_s; with mtbf_s every node of the pool is lost at times of its own")
        if self.pool is None and self.node is not None:
            raise ValueError("node has no meaning beside replicas")
        return self


@FAULT_KINDS.register("node_loss", NodeLossOptions)
class NodeLoss(Fault):
    """Crashes of all replicas of a node at the same times; replicas that join later stand on other nodes."""

    def effects(self, fleet: FleetView) -> list[FaultEffect]:
        options = self.options
        assert isinstance(options, NodeLossOptions)
        members = sorted(options.targets(self.key, fleet))
        if options.replicas_per_node is None:
            drawn = self.drawn("crash", subject=f"node of {members}")
            return [ReplicaFault("crash", frozenset(members), "", options.intervals(), drawn)]
        size = options.replicas_per_node
        nodes = [frozenset(members[first : first + size]) for first in range(0, len(members), size)]
        if options.node is not None:
            if options.node >= len(nodes):
                raise InputError(
                    f"{self.key}.node: pool {options.pool!r} has {counted(len(nodes), 'node')}, numbered from 0"
                )
            return [ReplicaFault("crash", nodes[options.node], "", options.intervals())]
        return [
            ReplicaFault("crash", node, "", (), self.drawn("crash", subject=f"node {number} of {options.pool}"))
            for number, node in enumerate(nodes)
        ]
