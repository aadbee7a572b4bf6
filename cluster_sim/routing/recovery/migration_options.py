"""Options of migration: requests go on at another replica with their prompt and the tokens so far."""

from typing import Literal

from pydantic import Field

from cluster_sim.options import LONGEST_RUN_S, ConfigModel
from cluster_sim.routing.recovery.failures import FailureName
from cluster_sim.units import NS_PER_S


class RebalanceOptions(ConfigModel):
    """Live migration from busy replicas to idle ones, at a period.

    Source: Llumnix (Sun et al., OSDI 2024): at each period pairs of the most and the least loaded instance whose load
    lies beyond the thresholds, and of the former's requests the shortest (or the latest) moves.
    """

    period_s: float = Field(1.0, ge=1e-3, le=LONGEST_RUN_S, description="Time between two looks at the loads.")
    threshold: int = Field(
        4, ge=2, le=1_000_000, description="Difference of requests in flight from which one is moved."
    )
    max_moves: int = Field(1, ge=1, le=100_000, description="Requests moved at one time, for each model.")
    victim: Literal["shortest", "latest"] = Field(
        "shortest", description="Request that moves: the one of the fewest tokens, or the one dispatched last."
    )

    @property
    def period_ns(self) -> int:
        """The period in ns."""
        return round(self.period_s * NS_PER_S)


class MigrationOptions(ConfigModel):
    """Requests whose replica fails, drains or is busy go on at another one.

    The router has kept the tokens that it streamed to the client; it sends prompt and tokens so far to another replica,
    which computes them as one prompt and goes on.  Source: Dynamo's migration (ai-dynamo/dynamo, migration_limit).
    """

    limit: int = Field(3, ge=1, le=1000, description="Times that one request may be moved.")
    max_tokens: int | None = Field(
        None, ge=1, le=1_000_000_000, description="Longest prompt with tokens so far that is moved; null: any."
    )
    migrate_on: tuple[FailureName, ...] = Field(
        ("crash", "unreachable", "attempt_timeout", "drained"),
        description="Failures after which a request that has begun goes on elsewhere.",
    )
    on_drain: bool = Field(
        False, description="Whether requests leave a draining replica at once instead of ending there."
    )
    rebalance: RebalanceOptions | None = Field(None, description="Moves from busy replicas to idle ones; null: none.")

    @property
    def is_live(self) -> bool:
        """Whether requests may leave replicas that still serve."""
        return self.on_drain or self.rebalance is not None
