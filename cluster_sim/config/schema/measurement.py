"""Measured part of a run: the warm-up that is left out, and the length of what follows."""

from typing import Literal, Self

from pydantic import Field, model_validator

from cluster_sim.options import LONGEST_RUN_S, MOST_ITEMS, ConfigModel


class Phase(ConfigModel):
    """A part of a run, by time, by requests, or found in the figures."""

    kind: Literal["none", "time", "requests", "auto"] = Field(description="How the part ends.")
    duration_s: float | None = Field(
        None, gt=0, le=LONGEST_RUN_S, description="Its length in simulated seconds, for kind time."
    )
    requests: int | None = Field(None, ge=1, le=MOST_ITEMS, description="Its number of requests, for kind requests.")

    @model_validator(mode="after")
    def _check_length(self) -> Self:
        for kind, name in (("time", "duration_s"), ("requests", "requests")):
            value = getattr(self, name)
            if self.kind == kind and value is None:
                raise ValueError(f"kind {kind} needs {name}")
            if self.kind != kind and value is not None:
                raise ValueError(f"{name} belongs to kind {kind}; this one is {self.kind}")
        return self
