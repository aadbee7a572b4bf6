"""Distributions of a real quantity: token counts, think times, ratios.

Every distribution is sampled by inversion (one uniform number a draw), so ``min`` and ``max`` *truncate*: the
probability outside is spread over the inside in proportion, and nothing piles up on the ends.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cluster_sim.options import ConfigModel, InputFile


class DistributionBase(ConfigModel):
    """What every distribution shares."""


class _Truncated(DistributionBase):
    min: float | None = Field(
        default=None, description="Lower end of the support; the distribution is truncated there."
    )
    max: float | None = Field(
        default=None, description="Upper end of the support; the distribution is truncated there."
    )

    @model_validator(mode="after")
    def _ends_in_order(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is greater than max {self.max}")
        return self


class Fixed(DistributionBase):
    """Always the same value."""

    kind: Literal["fixed"] = "fixed"
    value: float = Field(ge=0, description="The value.")


class Uniform(DistributionBase):
    """Every value between two ends is equally likely."""

    kind: Literal["uniform"]
    min: float = Field(ge=0, description="Least value.")
    max: float = Field(ge=0, description="Greatest value, included after rounding to tokens.")

    @model_validator(mode="after")
    def _ends_in_order(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is greater than max {self.max}")
        return self


class Exponential(_Truncated):
    """Exponential with a given mean (before truncation)."""

    kind: Literal["exponential"]
    mean: float = Field(gt=0, description="Mean.")


class LogNormal(_Truncated):
    """Lognormal, by the logarithm's parameters (mu, sigma) or by its own mean and standard deviation."""

    kind: Literal["lognormal"]
    mu: float | None = Field(default=None, description="Mean of the natural logarithm; goes with sigma.")
    sigma: float | None = Field(default=None, ge=0, description="Standard deviation of the logarithm; goes with mu.")
    mean: float | None = Field(default=None, gt=0, description="Mean of the value itself; goes with std.")
    std: float | None = Field(default=None, ge=0, description="Standard deviation of the value itself; goes with mean.")

    @model_validator(mode="after")
    def _one_pair(self) -> Self:
        by_log = self.mu is not None and self.sigma is not None and self.mean is None and self.std is None
        by_value = self.mean is not None and self.std is not None and self.mu is None and self.sigma is None
        if not (by_log or by_value):
            raise ValueError("lognormal takes either mu and sigma, or mean and std")
        return self


class TruncatedNormal(_Truncated):
    """Normal conditioned on lying between min and max: really truncated, never clamped."""

    kind: Literal["truncated_normal"]
    mu: float = Field(description="Mean before truncation.")
    sigma: float = Field(gt=0, description="Standard deviation before truncation.")
    min: float | None = Field(default=0.0, description="Lower end of the support.")


class PowerLaw(DistributionBase):
    """Density proportional to x ** -alpha between min and max."""

    kind: Literal["power_law"]
    alpha: float = Field(ge=0, description="Exponent of the density; 0 is uniform.")
    min: float = Field(gt=0, description="Least value.")
    max: float = Field(gt=0, description="Greatest value.")

    @model_validator(mode="after")
    def _ends_in_order(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is greater than max {self.max}")
        return self


class Zipf(DistributionBase):
    """Integers k from min to max with probability proportional to k ** -alpha."""

    kind: Literal["zipf"]
    alpha: float = Field(ge=0, description="Exponent; 0 is uniform.")
    min: int = Field(default=1, ge=1, description="Least integer.")
    max: int = Field(ge=1, le=10_000_000, description="Greatest integer.")

    @model_validator(mode="after")
    def _ends_in_order(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is greater than max {self.max}")
        return self


class Pareto(DistributionBase):
    """Pareto: P(X > x) = (scale / x) ** alpha from scale on, optionally truncated at max."""

    kind: Literal["pareto"]
    alpha: float = Field(gt=0, description="Tail index.")
    scale: float = Field(gt=0, description="Least value.")
    max: float | None = Field(default=None, gt=0, description="Upper end of the support.")

    @model_validator(mode="after")
    def _ends_in_order(self) -> Self:
        if self.max is not None and self.scale > self.max:
            raise ValueError(f"scale {self.scale} is greater than max {self.max}")
        return self


class Bimodal(DistributionBase):
    """Short with a probability, long otherwise; uniform within each mode."""

    kind: Literal["bimodal"]
    short_min: float = Field(ge=0, description="Least short value.")
    short_max: float = Field(ge=0, description="Greatest short value.")
    long_min: float = Field(ge=0, description="Least long value.")
    long_max: float = Field(ge=0, description="Greatest long value.")
    short_prob: float = Field(ge=0, le=1, description="Probability of the short mode.")

    @model_validator(mode="after")
    def _modes_in_order(self) -> Self:
        if not self.short_min <= self.short_max <= self.long_min <= self.long_max:
            raise ValueError("bimodal needs short_min <= short_max <= long_min <= long_max")
        return self


class Gamma(_Truncated):
    """Gamma, by shape and scale."""

    kind: Literal["gamma"]
    shape: float = Field(gt=0, description="Shape; the coefficient of variation is shape ** -0.5.")
    scale: float = Field(gt=0, description="Scale; the mean is shape * scale.")


class Weibull(_Truncated):
    """Weibull, by shape and scale."""

    kind: Literal["weibull"]
    shape: float = Field(gt=0, description="Shape; below 1 has a heavier tail than the exponential.")
    scale: float = Field(gt=0, description="Scale: the 63.2 % quantile.")


class Geometric(DistributionBase):
    """A count from 1 on: after each one, another follows with a fixed probability, up to max."""

    kind: Literal["geometric"]
    continue_probability: float = Field(ge=0, lt=1, description="Probability that one more follows.")
    max: int | None = Field(default=None, ge=1, description="Greatest count; what lies beyond is counted as max.")


class Empirical(DistributionBase):
    """Values seen before: a list with optional weights, or one column of a CSV or Parquet file."""

    kind: Literal["empirical"]
    values: tuple[float, ...] | None = Field(default=None, min_length=1, description="The values.")
    weights: tuple[float, ...] | None = Field(default=None, description="Their weights; equal when absent.")
    path: InputFile | None = Field(default=None, description="File of one value a row: .csv or .parquet, also gzipped.")
    column: str | None = Field(default=None, description="Column of the file; needed with path.")

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.values is None) == (self.path is None):
            raise ValueError("empirical takes either values or path with column")
        if self.path is not None and self.column is None:
            raise ValueError("empirical with path needs column")
        if self.values is not None and min(self.values) < 0:
            raise ValueError("empirical values must not be negative")
        if self.weights is not None:
            if self.values is None or len(self.weights) != len(self.values):
                raise ValueError("empirical weights must be as many as values")
            if min(self.weights) < 0 or sum(self.weights) <= 0:
                raise ValueError("empirical weights must not be negative and must not all be zero")
        return self


class MixturePart(DistributionBase):
    """One component of a mixture."""

    weight: float = Field(gt=0, description="Relative weight.")
    distribution: "Distribution" = Field(description="The component.")


class Mixture(DistributionBase):
    """One of several distributions, chosen by weight for every draw."""

    kind: Literal["mixture"]
    parts: tuple[MixturePart, ...] = Field(min_length=1, description="The components with their weights.")


Distribution = Annotated[
    Fixed
    | Uniform
    | Exponential
    | LogNormal
    | TruncatedNormal
    | PowerLaw
    | Zipf
    | Pareto
    | Bimodal
    | Gamma
    | Weibull
    | Geometric
    | Empirical
    | Mixture,
    Field(discriminator="kind"),
]
"""Any distribution, told apart by ``kind``."""

MixturePart.model_rebuild()
Mixture.model_rebuild()
