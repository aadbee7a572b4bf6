"""Conversations that start by an arrival process."""

from typing import ClassVar, Literal

from pydantic import Field

from cluster_sim.workload.arrivals.arrival_process import Arrivals
from cluster_sim.workload.kind_interface import WORKLOAD_KINDS, ArrivingOptions, LoadUnit, WorkloadKind, WorkloadParts
from cluster_sim.workload.lengths.length_sampler import Lengths
from cluster_sim.workload.sessions.session_planner import SessionPlanner
from cluster_sim.workload.sessions.session_source import SessionSource, SinglePlanner
from cluster_sim.workload.sessions.turn_taking import SessionShape, TurnTaking
from cluster_sim.workload.traits.trait_options import Traits


class SessionsWorkload(TurnTaking, ArrivingOptions):
    """Conversations that start by an arrival process; ``count`` counts sessions."""

    example: ClassVar = {
        "arrivals": {"kind": "poisson", "request_rate": 5},
        "lengths": {"prompt": {"kind": "uniform", "min": 10, "max": 100}, "output": {"kind": "fixed", "value": 20}},
        "turns": {"kind": "fixed", "value": 3},
        "think_time_s": {"kind": "fixed", "value": 3},
        "count": 100,
    }

    kind: Literal["sessions"]
    arrivals: Arrivals = Field(description="When sessions start.")
    lengths: Lengths = Field(description="New prompt tokens and output tokens of each turn.")
    traits: Traits = Field(default_factory=Traits, description="What the requests carry besides.")


@WORKLOAD_KINDS.register("sessions", SessionsWorkload)
class SessionsKind(WorkloadKind[SessionsWorkload]):
    """Conversations that start by an arrival process."""

    @property
    def reacts(self) -> bool:
        """Whether later requests depend on how earlier ones fare: always."""
        return True

    @property
    def load_unit(self) -> LoadUnit:
        """Sessions."""
        return "sessions"

    def source(self, parts: WorkloadParts) -> SessionSource:
        """Return the source of the conversations' turns."""
        part, stream = parts.take()
        shape = SessionShape.of(self.options, self.options.lengths, self.options.traits)
        planner = SinglePlanner(SessionPlanner(shape, part, stream))
        return SessionSource(planner, self.options.arrival_times(stream))
