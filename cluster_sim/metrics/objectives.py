"""The ``slo`` block: limits that the results are compared with."""

from typing import NamedTuple

from pydantic import Field

from cluster_sim.options import ConfigModel


class Limit(NamedTuple):
    """One limit: ``metric`` is a key of the summary such as ``ttft_s``, ``percentile`` one of its figures."""

    metric: str
    percentile: str
    limit_s: float


class Slo(ConfigModel):
    """Upper limits in seconds of percentiles over all finished requests; null sets none."""

    ttft_p50_s: float | None = Field(None, gt=0, description="Median time to first token.")
    ttft_p90_s: float | None = Field(None, gt=0, description="90th percentile of the time to first token.")
    ttft_p95_s: float | None = Field(None, gt=0, description="95th percentile of the time to first token.")
    ttft_p99_s: float | None = Field(None, gt=0, description="99th percentile of the time to first token.")
    tpot_p50_s: float | None = Field(None, gt=0, description="Median time per output token.")
    tpot_p90_s: float | None = Field(None, gt=0, description="90th percentile of the time per output token.")
    tpot_p95_s: float | None = Field(None, gt=0, description="95th percentile of the time per output token.")
    tpot_p99_s: float | None = Field(None, gt=0, description="99th percentile of the time per output token.")
    e2e_p50_s: float | None = Field(None, gt=0, description="Median time from arrival to the last token.")
    e2e_p90_s: float | None = Field(None, gt=0, description="90th percentile of the time to the last token.")
    e2e_p95_s: float | None = Field(None, gt=0, description="95th percentile of the time to the last token.")
    e2e_p99_s: float | None = Field(None, gt=0, description="99th percentile of the time to the last token.")

    def limits(self) -> list[Limit]:
        """Return the limits that are set, in the order of the fields."""
        found = []
        for name in type(self).model_fields:
            limit_s = getattr(self, name)
            if limit_s is not None:
                metric, percentile, _ = name.split("_")
                found.append(Limit(f"{metric}_s", percentile, limit_s))
        return found
