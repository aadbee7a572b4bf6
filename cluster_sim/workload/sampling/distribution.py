"""Distributions of a real quantity (token counts, think times, ratios): the axis and its registry.

Every distribution is sampled by inversion (one uniform number a draw), so ``min`` and ``max`` *truncate*: the
probability outside is spread over the inside in proportion, and nothing piles up on the ends.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Self, cast

from pydantic import Field, model_validator

from cluster_sim.options import ConfigModel
from cluster_sim.registry import Registry
from cluster_sim.workload.sampling.quantile import InvertibleQuantile, Quantile, Truncated

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
            raise ValueError(f"min {low} is greater than max {high}")
        return self


class TruncatableOptions(BoundedOptions):
    """Parameters of a distribution that may be truncated; its part is an ``InvertibleQuantile``."""

    min: float | None = Field(
        default=None, description="Lower end of the support; the distribution is truncated there."
    )
    max: float | None = Field(
        default=None, description="Upper end of the support; the distribution is truncated there."
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
