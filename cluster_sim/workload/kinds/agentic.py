"""Agentic sessions: graphs of model calls."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from cluster_sim.options import MS_PER_DAY
from cluster_sim.workload.agents.agent_step import AgentStep
from cluster_sim.workload.agents.agentic_source import AgenticSource
from cluster_sim.workload.arrivals.arrival_process import Arrivals
from cluster_sim.workload.feedback.think_times import floor_ns
from cluster_sim.workload.kind_interface import WORKLOAD_KINDS, ArrivingOptions, LoadUnit, WorkloadKind, WorkloadParts
from cluster_sim.workload.traits.trait_options import Traits
from cluster_sim.workload.traits.trait_sampler import TraitSampler


class AgenticWorkload(ArrivingOptions):
    """Sessions that are graphs of model calls: branches, joins, tool waits; ``count`` counts sessions."""

    example: ClassVar = {
        "arrivals": {"kind": "poisson", "request_rate": 5},
        "count": 100,
        "steps": [
            {
                "name": "plan",
                "lengths": {
                    "prompt": {"kind": "uniform", "min": 10, "max": 100},
                    "output": {"kind": "fixed", "value": 20},
                },
            },
            {
                "name": "answer",
                "after": ["plan"],
                "lengths": {
                    "prompt": {"kind": "uniform", "min": 10, "max": 100},
                    "output": {"kind": "fixed", "value": 20},
                },
            },
        ],
    }

    kind: Literal["agentic"]
    arrivals: Arrivals = Field(description="When sessions start.")
    steps: tuple[AgentStep, ...] = Field(min_length=1, max_length=256, description="The calls, parents first.")
    think_floor_ms: float = Field(
        default=1.0,
        gt=0,
        le=MS_PER_DAY,
        description="Shorter waits are lengthened to this: the simulation's lookahead, ms.",
    )
    max_branches: int = Field(default=16, ge=1, le=1024, description="Greatest number of branches of one step.")
    traits: Traits = Field(default_factory=Traits, description="What the requests carry besides.")

    @model_validator(mode="after")
    def _check_steps(self) -> Self:
        known: set[str] = set()
        for step in self.steps:
            for parent in step.after:
                if parent not in known:
                    raise ValueError(f"step '{step.name}' comes after '{parent}', which is not an earlier step")
            if step.name in known:
                raise ValueError(f"step '{step.name}' is given twice")
            known.add(step.name)
        if self.steps[0].probability < 1:
            raise ValueError("the first step must have probability 1")
        return self


@WORKLOAD_KINDS.register("agentic", AgenticWorkload)
class AgenticKind(WorkloadKind[AgenticWorkload]):
    """Sessions that are graphs of model calls."""

    @property
    def reacts(self) -> bool:
        """Whether later requests depend on how earlier ones fare: always."""
        return True

    @property
    def load_unit(self) -> LoadUnit:
        """Sessions."""
        return "sessions"

    def source(self, parts: WorkloadParts) -> AgenticSource:
        """Return the source of the sessions' calls."""
        part, stream = parts.take()
        options = self.options
        return AgenticSource(
            options.steps,
            options.arrival_times(stream),
            TraitSampler(options.traits, part, stream.child("traits")),
            stream,
            max_branches=options.max_branches,
            least_wait_ns=floor_ns(options.think_floor_ms),
        )
