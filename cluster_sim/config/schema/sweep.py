"""The ``sweep`` block: which variants of the study to run."""

import json
import math
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from cluster_sim.options import GREATEST_VALUE, ConfigModel

MOST_VARIANTS: Final = 20_000
"""Each is resolved before the first one runs, some ten milliseconds."""


class SampledRange(ConfigModel):
    """The values that a sampled key takes."""

    min: float = Field(ge=-GREATEST_VALUE, le=GREATEST_VALUE, description="Smallest value.")
    max: float = Field(ge=-GREATEST_VALUE, le=GREATEST_VALUE, description="Greatest value.")
    scale: Literal["linear", "log"] = Field("linear", description="What is uniform: the value or its logarithm.")
    is_whole: bool = Field(False, description="Whether values are whole numbers, both ends included.")

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min ({self.min:g}) must not be above max ({self.max:g})")
        if self.scale == "log" and self.min <= 0:
            raise ValueError(f"min ({self.min:g}) must be above 0 on a log scale")
        if self.is_whole and math.ceil(self.min) > math.floor(self.max):
            raise ValueError(f"there is no whole number between {self.min:g} and {self.max:g}")
        return self


def _with_values(values: dict[str, Any]) -> dict[str, Any]:
    """Return what keys are to take; raises ValueError for a key without any."""
    for key, given in values.items():
        if given == []:
            raise ValueError(f"{key} has no values: list at least one")
    return values


def _first_twice(values: Iterable[Any]) -> str | None:
    """Return the first value that stands a second time, as JSON; None if all differ.  1 and 1.0 are the same."""
    seen: set[str] = set()
    for value in values:
        text = json.dumps(_plain(value), default=str)
        if text in seen:
            return text
        seen.add(text)
    return None


def _plain(value: Any) -> Any:
    """Return a value whose whole numbers are all integers, and whose keys are in order."""
    if isinstance(value, dict):
        return {str(key): _plain(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Sample(ConfigModel):
    """Points spread evenly over ranges of several keys."""

    method: Literal["latin_hypercube", "sobol"] = Field(
        "latin_hypercube", description="How they are spread; a Sobol sequence is best with a power of two points."
    )
    count: int = Field(ge=1, le=MOST_VARIANTS, description="Number of points.")
    seed: int = Field(0, ge=0, le=2**63 - 1, description="Seed of the points.")
    ranges: dict[str, SampledRange | list[Any]] = Field(
        min_length=1, max_length=100, description="For each dotted key a range, or a list to choose from evenly."
    )

    @field_validator("ranges")
    @classmethod
    def _check_values(cls, ranges: dict[str, Any]) -> dict[str, Any]:
        return _with_values(ranges)


class Sweep(ConfigModel):
    """Each run takes one entry of ``list``, one place of ``zip``, one point of ``sample`` and one value of each key of
    ``grid``, in every combination that fulfils ``where``.
    """

    grid: dict[str, list[Any]] = Field({}, description="Values for each dotted key; list items by index or name.")
    zip: dict[str, list[Any]] = Field(
        {}, description="Values of keys that change together: the first of each, the second of each ..."
    )
    sample: Sample | None = Field(None, description="Points spread over ranges; null is none.")
    where: tuple[str, ...] = Field(
        (),
        max_length=100,
        description="Conditions on the keys of the sweep, such as 'fleet.pools.0.replicas <= 16': numbers, texts, "
        "+ - * / // %, comparisons, in, and, or, not, parentheses.",
    )
    list: tuple[dict[str, Any], ...] = Field((), description="Values of several keys, one run each.")

    @field_validator("grid", "zip")
    @classmethod
    def _check_values(cls, values: dict[str, Any]) -> dict[str, Any]:
        return _with_values(values)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that vary, in the order in which they stand in a result's columns."""
        sampled = self.sample.ranges if self.sample is not None else {}
        listed = [key for entry in self.list for key in entry]
        return tuple(dict.fromkeys([*listed, *self.zip, *sampled, *self.grid]))

    @property
    def combinations(self) -> int:
        """How many there are, before any condition."""
        pairs = len(next(iter(self.zip.values()), "1"))
        points = self.sample.count if self.sample is not None else 1
        return max(1, len(self.list)) * pairs * points * math.prod(map(len, self.grid.values()))

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        sampled = self.sample.ranges if self.sample is not None else {}
        if not self.keys:
            raise ValueError("varies no key: give grid, zip, list or sample at least one, e.g. grid: {seed: [1, 2, 3]}")
        listed = {key for entry in self.list for key in entry}
        for key, count in Counter([*listed, *self.zip, *sampled, *self.grid]).items():
            if count > 1:
                raise ValueError(f"{key} stands in two of grid, zip, list and sample: it can have one value in a run")
            if key == "sweep" or key.startswith("sweep."):
                raise ValueError(f"{key} cannot be varied by the sweep itself")
        lengths = {key: len(values) for key, values in self.zip.items()}
        if len(set(lengths.values())) > 1:
            found = ", ".join(f"{key} {length}" for key, length in lengths.items())
            raise ValueError(f"zip needs as many values of each key; got {found}")
        self._check_repeats()
        if self.combinations > MOST_VARIANTS:
            raise ValueError(
                f"has {self.combinations:,} combinations, more than {MOST_VARIANTS:,}: try fewer values at once"
            )
        return self

    def _check_repeats(self) -> None:
        """Raise ValueError for values that would make the same run twice."""
        for key, values in self.grid.items():
            twice = _first_twice(values)
            if twice is not None:
                raise ValueError(f"grid.{key} has {twice} twice: give each value once")
        twice = _first_twice(zip(*self.zip.values(), strict=True))
        if twice is not None:
            raise ValueError(f"zip has the values {twice} of {', '.join(self.zip)} twice: give each place once")
        twice = _first_twice(self.list)
        if twice is not None:
            raise ValueError(f"list has the entry {twice} twice: give each once")
