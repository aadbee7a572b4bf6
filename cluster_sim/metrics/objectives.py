"""The ``slo`` block: limits that the results are compared with, for all requests or for a class of them."""

from typing import Any, Final, NamedTuple, Self

from pydantic import Field, model_validator
from pydantic.fields import FieldInfo

from cluster_sim.options import LONGEST_RUN_S, LOWEST_PRIORITY, ConfigModel
from cluster_sim.units import NS_PER_S

MEAN: Final = "mean"
"""The figure of a limit on a mean; the others are percentiles."""
GAPS: Final = "itl_s"
"""The metric whose limits cover gaps between tokens, not requests."""


class Limit(NamedTuple):
    """One limit: ``metric`` is a key of the summary such as ``ttft_s``, ``percentile`` one of its figures."""

    metric: str
    percentile: str
    limit_s: float

    @property
    def interval(self) -> str:
        """The metric's name among the latencies of a request, for example "ttft"."""
        return self.metric.removesuffix("_s")

    @property
    def name(self) -> str:
        """The key that sets it."""
        return f"{self.interval}_{self.percentile}_s"

    @property
    def is_mean(self) -> bool:
        """Whether it limits the mean."""
        return self.percentile == MEAN

    @property
    def rank(self) -> float:
        """The rank of the percentile, from 0 to 1."""
        return int(self.percentile.removeprefix("p")) / 100


def _limit(description: str) -> Any:
    return Field(None, gt=0, le=LONGEST_RUN_S, description=description)


class LimitSet(ConfigModel):
    """Upper limits in seconds; null sets none."""

    ttft_mean_s: float | None = _limit("Mean time to first token.")
    ttft_p50_s: float | None = _limit("Median time to first token.")
    ttft_p90_s: float | None = _limit("90th percentile of the time to first token.")
    ttft_p95_s: float | None = _limit("95th percentile of the time to first token.")
    ttft_p99_s: float | None = _limit("99th percentile of the time to first token.")
    tpot_mean_s: float | None = _limit("Mean time per output token.")
    tpot_p50_s: float | None = _limit("Median time per output token.")
    tpot_p90_s: float | None = _limit("90th percentile of the time per output token.")
    tpot_p95_s: float | None = _limit("95th percentile of the time per output token.")
    tpot_p99_s: float | None = _limit("99th percentile of the time per output token.")
    e2e_mean_s: float | None = _limit("Mean time from arrival to the last token.")
    e2e_p50_s: float | None = _limit("Median time from arrival to the last token.")
    e2e_p90_s: float | None = _limit("90th percentile of the time to the last token.")
    e2e_p95_s: float | None = _limit("95th percentile of the time to the last token.")
    e2e_p99_s: float | None = _limit("99th percentile of the time to the last token.")

    def all_limits(self) -> list[Limit]:
        """Return the limits that are set, in the order of the fields."""
        found = []
        for name, field in type(self).model_fields.items():
            limit_s = getattr(self, name)
            if limit_s is not None and _is_limit(field):
                metric, percentile, _ = name.split("_")
                found.append(Limit(f"{metric}_s", percentile, limit_s))
        return found

    def limits(self) -> list[Limit]:
        """Return the limits on percentiles over requests."""
        return [limit for limit in self.all_limits() if not limit.is_mean and limit.metric != GAPS]

    def request_limits_ns(self) -> dict[str, int]:
        """Return the limits of one request in ns by interval: for each that of the highest percentile limited."""
        highest: dict[str, Limit] = {}
        for limit in self.limits():
            known = highest.get(limit.interval)
            if known is None or limit.rank >= known.rank:
                highest[limit.interval] = limit
        return {interval: round(limit.limit_s * NS_PER_S) for interval, limit in highest.items()}


class ClassMatch(ConfigModel):
    """What requests of a class have in common."""

    tenant: str | None = Field(None, description="Tenant that sends them.")
    model: str | None = Field(None, description="Model that they name.")
    priority: int | None = Field(None, ge=-LOWEST_PRIORITY, le=LOWEST_PRIORITY, description="Their priority.")
    slo_class: str | None = Field(None, description="Their service class, a trait of the workload.")

    @model_validator(mode="after")
    def _check_something(self) -> Self:
        if not self.given():
            raise ValueError("needs one of tenant, model, priority and slo_class at least")
        return self

    def given(self) -> dict[str, str | int]:
        """Return what is asked for, by key."""
        return {name: value for name, value in self.model_dump().items() if value is not None}

    @property
    def label(self) -> str:
        """The words that name the class."""
        return ", ".join(f"{name} {value}" for name, value in self.given().items())


class ClassLimits(LimitSet):
    """Limits of a class of requests."""

    match: ClassMatch = Field(description="Which requests they are for.")

    @model_validator(mode="after")
    def _check_limits(self) -> Self:
        if not self.all_limits():
            raise ValueError("has no limit; set one, for example ttft_p99_s")
        return self


class Slo(LimitSet):
    """Upper limits in seconds over all requests, and over classes of them; null sets none."""

    itl_mean_s: float | None = _limit("Mean gap between two tokens of a request.")
    itl_p50_s: float | None = _limit("Median gap between two tokens.")
    itl_p90_s: float | None = _limit("90th percentile of the gaps between two tokens.")
    itl_p95_s: float | None = _limit("95th percentile of the gaps between two tokens.")
    itl_p99_s: float | None = _limit("99th percentile of the gaps between two tokens.")
    classes: list[ClassLimits] | None = Field(
        None, description="Limits of classes of requests by tenant, model, priority or slo_class, beside those of all."
    )

    @property
    def has_limits(self) -> bool:
        """Whether anything is limited."""
        return bool(self.all_limits() or self.classes)


def _is_limit(field: FieldInfo) -> bool:
    return field.annotation == (float | None)
