"""Several workloads one after the other."""

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from cluster_sim.options import LONGEST_RUN_S, ConfigModel
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.columns import Columns, ColumnSource
from cluster_sim.workload.kind_interface import (
    WORKLOAD_KINDS,
    OpenLoopKind,
    OpenLoopOptions,
    WorkloadConfig,
    WorkloadParts,
    kind_of,
    open_loop_columns,
    without_model,
)


class Phase(ConfigModel):
    """One phase."""

    duration_s: float = Field(
        gt=0, le=LONGEST_RUN_S, description="Length of the phase, seconds; arrivals beyond it are cut off."
    )
    workload: WorkloadConfig = Field(description="What arrives, times counted from the start of the phase.")


class PhasesWorkload(OpenLoopOptions):
    """Open-loop workloads one after the other."""

    example: ClassVar = {
        "phases": [
            {
                "duration_s": 30,
                "workload": {
                    "kind": "synthetic",
                    "arrivals": {"kind": "poisson", "request_rate": 5},
                    "lengths": {
                        "prompt": {"kind": "uniform", "min": 10, "max": 100},
                        "output": {"kind": "fixed", "value": 20},
                    },
                    "count": 100,
                },
            }
        ],
        "repeat": 2,
    }

    kind: Literal["phases"]
    phases: tuple[Phase, ...] = Field(min_length=1, description="The phases, in order.")
    repeat: int = Field(default=1, ge=1, le=1_000_000, description="How often the whole sequence runs.")

    @model_validator(mode="after")
    def _check_models(self) -> Self:
        for part in [phase.workload for phase in self.phases]:
            without_model(part)
        return self


@WORKLOAD_KINDS.register("phases", PhasesWorkload)
class PhasesKind(OpenLoopKind[PhasesWorkload]):
    """Open-loop workloads one after the other."""

    def scaled_rates(self, factor: float) -> PhasesWorkload:
        """Return the options with so many times the load of every phase."""
        phases = tuple(
            phase.model_copy(update={"workload": kind_of(phase.workload).scaled(factor)})
            for phase in self.options.phases
        )
        return self.options.model_copy(update={"phases": phases})

    def columns(self, parts: WorkloadParts) -> "PhasedColumns":
        """Return the requests of all phases, none of which may react."""
        phases = [(phase.duration_s, open_loop_columns(phase.workload, parts)) for phase in self.options.phases]
        return PhasedColumns(phases, self.options.repeat)


class PhasedColumns:
    """Sources one after the other, each cut off at the end of its phase."""

    def __init__(self, phases: Sequence[tuple[float, ColumnSource]], repeat: int) -> None:
        self._phases = phases
        self._repeat = repeat

    def columns(self) -> Iterator[Columns]:
        """Yield the blocks from the first on; every call starts over and gives the same."""
        start_ns = 0
        for _ in range(self._repeat):
            for duration_s, source in self._phases:
                length_ns = round(duration_s * NS_PER_S)
                for whole in source.columns():
                    cut = int(np.searchsorted(whole.arrival_ns, length_ns, side="left"))
                    block = whole.rows(slice(0, cut))
                    if len(block):
                        yield Columns(
                            block.arrival_ns + start_ns, block.prompt_tokens, block.output_tokens, block.attributes
                        )
                    if cut < len(whole):
                        break
                start_ns += length_ns
