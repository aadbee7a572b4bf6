"""Distributions of a real quantity (token counts, think times, ratios): the axis and its registry.

Every distribution is sampled by inversion (one uniform number a draw), so ``min`` and ``max`` *truncate*: the
probability outside is spread over the inside in proportion, and nothing piles up on the ends.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Self, cast

import numpy as np
from pydantic import Field, model_validator

from cluster_sim.errors import InputError
from cluster_sim.options import GREATEST_VALUE, ConfigModel
from cluster_sim.registry import Registry
from cluster_sim.workload.sampling.quantile import InvertibleQuantile, Quantile, Truncated

_LEAST_COUNT: Final = 0.5
"""Least value that rounds to a count of 1."""

DISTRIBUTIONS: Final = Registry[Callable[[Any], Quantile]](
    "distribution", "cluster_sim.workload.sampling.distributions", "cluster_sim.length_distributions"
)
"""Quantile functions, each made from its options."""


class DistributionOptions(ConfigModel):
    """Parameters of a distribution; ``kind`` tells them apart."""

    kind: str


class BoundedOptions(DistributionOptions):
    """Parameters of a distribution between two ends."""

    @model_validator(mode="after")
    def _check_ends(self) -> Self:
        low, high = getattr(self, "min", None), getattr(self, "max", None)
        if low is not None and high is not None and low > high:
            raise ValueError(f"min {low:g} is greater than max {high:g}")
        mean = getattr(self, "mean", None)
        if mean is not None and high is not None and mean > high:
            raise ValueError(f"mean {mean:g} is greater than max {high:g}; the mean is that before truncation")
        if high is not None and high <= 0:
            raise ValueError(f"max {high:g} must be above 0: the quantities are counts, times or shares")
        if low is not None and low < 0:
            raise ValueError(f"min {low:g} must be at least 0: the quantities are counts, times or shares")
        return self


class TruncatableOptions(BoundedOptions):
    """Parameters of a distribution that may be truncated; its part is an ``InvertibleQuantile``."""

    min: float | None = Field(
        default=None,
        ge=-GREATEST_VALUE,
        le=GREATEST_VALUE,
        description="Lower end of the support; the distribution is truncated there.",
    )
    max: float | None = Field(
        default=None,
        ge=-GREATEST_VALUE,
        le=GREATEST_VALUE,
        description="Upper end of the support; the distribution is truncated there.",
    )


if TYPE_CHECKING:
    Distribution = DistributionOptions
else:
    Distribution = DISTRIBUTIONS.annotation()


def build_quantile(options: Distribution) -> Quantile:
    """Return the quantile function of a configured distribution."""
    quantile = DISTRIBUTIONS.chosen_by(options).part(options)
    if isinstance(options, TruncatableOptions) and (options.min is not None or options.max is not None):
        return Truncated(cast("InvertibleQuantile", quantile), options.min, options.max)
    return quantile


def build_token_quantile(options: Distribution) -> Quantile:
    """Return the quantile function of a count of tokens or items; InputError if no value rounds to 1 or more."""
    quantile = build_quantile(options)
    greatest = float(quantile.values(np.array([1.0 - 2.0**-53]))[0])
    if greatest < _LEAST_COUNT:
        raise InputError(
            f"workload: a distribution of kind {options.kind} counts tokens or items, of which there must be at least "
            f"1, and its greatest value is {greatest:g}; raise it"
        )
    return quantile
