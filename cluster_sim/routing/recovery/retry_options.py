"""Options of retries: failures that are retried, how often, after which delay, and within which budget."""

from typing import Self

from pydantic import Field, model_validator

from cluster_sim.options import LONGEST_RUN_S, MS_PER_DAY, ConfigModel
from cluster_sim.routing.recovery.failures import FAILURES, FailureName
from cluster_sim.units import NS_PER_MS, NS_PER_S


class BackOff(ConfigModel):
    """Delay before a retry: initial x multiplier ^ (retries before it), at most max, times 1 +- jitter.

    Source: sgl-router 083d6013, which has these defaults.
    """

    initial_ms: float = Field(50.0, ge=0, le=MS_PER_DAY, description="Delay before the first retry.")
    multiplier: float = Field(1.5, ge=1, le=1000, description="Growth from one retry to the next.")
    max_ms: float = Field(30_000.0, ge=0, le=MS_PER_DAY, description="Longest delay, before jitter.")
    jitter_ratio: float = Field(0.2, ge=0, le=1, description="Largest share that a draw adds or takes away.")

    @model_validator(mode="after")
    def _starts_below_its_limit(self) -> Self:
        if self.initial_ms > self.max_ms:
            raise ValueError(f"initial_ms: {self.initial_ms:g} is above max_ms: {self.max_ms:g}")
        return self

    @property
    def initial_ns(self) -> int:
        """The first delay in ns."""
        return round(self.initial_ms * NS_PER_MS)

    @property
    def max_ns(self) -> int:
        """The longest delay in ns."""
        return round(self.max_ms * NS_PER_MS)


class RetryBudgetOptions(ConfigModel):
    """Most retries under way at once: a share of the requests under way, or a least number.

    Source: Envoy's retry budget (budget_percent, min_retry_concurrency), which has these defaults.
    """

    ratio: float = Field(0.2, ge=0, le=1, description="Retries under way over requests in flight.")
    min_concurrent: int = Field(3, ge=0, le=1_000_000, description="Retries that may be under way in any case.")


class RetryOptions(ConfigModel):
    """Retries of failed attempts by the router."""

    max_retries: int = Field(5, ge=0, le=1000, description="Retries of one request after its first attempt.")
    retry_on: tuple[FailureName, ...] = Field(
        FAILURES, description="Failures that are retried, unless the stream has begun."
    )
    back_off: BackOff = Field(BackOff(), description="Delay before a retry.")
    budget: RetryBudgetOptions | None = Field(None, description="Most retries under way at once; null: any number.")
    attempt_timeout_s: float | None = Field(
        None, ge=1e-9, le=LONGEST_RUN_S, description="Time after which the router gives an attempt up; null: never."
    )
    begun_streams: bool = Field(
        False,
        description="Whether a request is also retried from its beginning after the client has seen tokens; migration "
        "instead goes on where it stopped.",
    )
    avoid_failed: bool = Field(
        True, description="Whether a retry avoids the replicas where the request has failed, while there are others."
    )

    @property
    def attempt_timeout_ns(self) -> int:
        """The time-out of an attempt in ns; 0: none."""
        return round((self.attempt_timeout_s or 0) * NS_PER_S)
