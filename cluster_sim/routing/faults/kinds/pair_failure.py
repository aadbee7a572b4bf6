"""Partial failure of a disaggregated pair: one side goes down while the other still serves."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal

from pydantic import Field

from cluster_sim.errors import InputError
from cluster_sim.routing.faults.fault_effects import FaultEffect, FleetView, ReplicaFault
from cluster_sim.routing.faults.fault_interface import FAULT_KINDS, Fault, FaultOptions, check_replica

_SIDES: Final = ("prefill", "decode")


class PairFailureOptions(FaultOptions):
    """Of a prefill and a decode replica one crashes, and what is handed over between them is lost, for 60 s."""

    example: ClassVar[Mapping[str, Any]] = {"prefill": 0, "decode": 1, "at_s": 60}

    kind: Literal["pair_failure"] = "pair_failure"
    prefill: int = Field(ge=0, le=10_000_000, description="Number of the replica that computes prompts.")
    decode: int = Field(ge=0, le=10_000_000, description="Number of the replica that decodes.")
    side: Literal["prefill", "decode"] = Field("prefill", description="The one that crashes.")


@FAULT_KINDS.register("pair_failure", PairFailureOptions)
class PairFailure(Fault):
    """The crash of one side; the other keeps what it has and finds its partner gone."""

    def effects(self, fleet: FleetView) -> list[FaultEffect]:
        options = self.options
        assert isinstance(options, PairFailureOptions)
        for side in _SIDES:
            replica = getattr(options, side)
            check_replica(replica, f"{self.key}.{side}", fleet)
            role = next(pool.role for pool in fleet.pools if replica in pool.replicas)
            if role and role != side:
                raise InputError(f"{self.key}.{side}: replica {replica} is of a pool with role {role}")
        failing = frozenset([getattr(options, options.side)])
        return [ReplicaFault("crash", failing, "", options.intervals(), self.drawn("crash"))]
