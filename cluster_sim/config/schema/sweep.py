"""The ``sweep`` block: which variants of the study to run."""

import math
from typing import Any, Final

from pydantic import Field, field_validator

from cluster_sim.options import ConfigModel

MOST_VARIANTS: Final = 20_000
"""Each is resolved before the first one runs, some ten milliseconds."""


class Sweep(ConfigModel):
    """Every combination of the listed values is one run."""

    grid: dict[str, list[Any]] = Field(
        min_length=1, description="Values to try for each dotted key of the study; list items by index."
    )

    @field_validator("grid")
    @classmethod
    def _check_values(cls, grid: dict[str, list[Any]]) -> dict[str, list[Any]]:
        for key, values in grid.items():
            if not values:
                raise ValueError(f"{key} has no values: list at least one")
            if key == "sweep" or key.startswith("sweep."):
                raise ValueError(f"{key} cannot be varied by the sweep itself")
        count = math.prod(map(len, grid.values()))
        if count > MOST_VARIANTS:
            raise ValueError(f"has {count:,} combinations, more than {MOST_VARIANTS:,}: try fewer values at once")
        return grid
