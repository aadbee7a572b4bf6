"""Token buckets: rates that a tenant may send at, in requests and in tokens."""

from collections.abc import Sequence
from typing import Final, Literal, Self

from pydantic import Field, model_validator

from cluster_sim.options import ConfigModel
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.request import Request

_MICRO: Final = 1_000_000


class RateLimit(ConfigModel):
    """What one tenant, or each of those without a limit of their own, may send."""

    tenant: str | None = Field(
        None, description="Tenant that it holds for; null is each tenant without a limit of its own."
    )
    requests_per_s: float | None = Field(None, gt=0, le=1e9, description="Requests a second; null is any number.")
    burst_requests: int = Field(1, ge=1, le=1_000_000_000, description="Requests that may come at once.")
    tokens_per_s: float | None = Field(None, gt=0, le=1e12, description="Tokens a second; null is any number.")
    burst_tokens: int = Field(100_000, ge=1, le=1_000_000_000_000, description="Tokens that may come at once.")
    counts: Literal["prompt", "prompt_and_output"] = Field(
        "prompt_and_output", description="Tokens of a request that are counted."
    )

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.requests_per_s is None and self.tokens_per_s is None:
            raise ValueError("limits nothing; give requests_per_s or tokens_per_s")
        return self


class TokenBucket:
    """A bucket that fills at a steady rate up to its size, in exact integers."""

    def __init__(self, rate_per_s: float, size: int) -> None:
        self._rate = round(rate_per_s * _MICRO)
        """Millionths a second."""
        self._full = size * _MICRO * NS_PER_S
        self._level = self._full
        """Millionths times ns of a second, which keeps refills whole."""
        self._since_ns = 0

    def has(self, amount: int, now_ns: int) -> bool:
        """Whether ``amount`` is there at ``now_ns``; times never go back."""
        self._level = min(self._full, self._level + self._rate * (now_ns - self._since_ns))
        self._since_ns = now_ns
        return self._level >= amount * _MICRO * NS_PER_S

    def take(self, amount: int) -> None:
        """Take what is there."""
        self._level -= amount * _MICRO * NS_PER_S


class _TenantLimit:
    """The buckets of one tenant."""

    def __init__(self, limit: RateLimit) -> None:
        self._counts_output = limit.counts == "prompt_and_output"
        self._requests = self._tokens = None
        if limit.requests_per_s is not None:
            self._requests = TokenBucket(limit.requests_per_s, limit.burst_requests)
        if limit.tokens_per_s is not None:
            self._tokens = TokenBucket(limit.tokens_per_s, limit.burst_tokens)

    def try_take(self, request: Request, now_ns: int) -> bool:
        tokens = request.prompt_tokens + (request.output_tokens if self._counts_output else 0)
        requests_bucket, tokens_bucket = self._requests, self._tokens
        if requests_bucket is not None and not requests_bucket.has(1, now_ns):
            return False
        if tokens_bucket is not None and not tokens_bucket.has(tokens, now_ns):
            return False
        if requests_bucket is not None:
            requests_bucket.take(1)
        if tokens_bucket is not None:
            tokens_bucket.take(tokens)
        return True


class RateLimits:
    """The buckets of every tenant."""

    def __init__(self, limits: Sequence[RateLimit]) -> None:
        self._limits = {limit.tenant: limit for limit in limits}
        self._tenants: dict[str, _TenantLimit | None] = {}

    def try_take(self, request: Request, now_ns: int) -> bool:
        """Take a request's share from its tenant's buckets if both have it; return whether they had."""
        tenant = request.attributes.tenant
        if tenant not in self._tenants:
            limit = self._limits.get(tenant, self._limits.get(None))
            self._tenants[tenant] = None if limit is None else _TenantLimit(limit)
        buckets = self._tenants[tenant]
        return buckets is None or buckets.try_take(request, now_ns)
