"""Rolling upgrade: replicas of one pool replaced by those of another, a few at a time.

Source: Kubernetes, pkg/controller/deployment/rolling.go (strategy RollingUpdate).  With N replicas, at most
N + ceil(surge N) exist and at least N - floor(unavailable N) serve.  New ones start as far as the first allows; old
ones drain as far as the second does, counting new ones that are not ready as not serving.
"""

from math import ceil, floor
from typing import NamedTuple

from pydantic import Field

from cluster_sim.options import LONGEST_RUN_S, ConfigModel


class UpgradeOptions(ConfigModel):
    """One rolling upgrade."""

    at_s: float = Field(ge=0, le=LONGEST_RUN_S, description="Time at which it begins.")
    pool: str = Field(description="Pool that is replaced.")
    to: str = Field(description="Pool of the same model that replaces it: another engine, version or device.")
    max_surge_percent: float = Field(
        25.0, ge=0, le=100, description="Replicas above the pool's number that may exist meanwhile, rounded up."
    )
    max_unavailable_percent: float = Field(
        25.0, ge=0, le=100, description="Replicas below that number that may be missing meanwhile, rounded down."
    )


class UpgradeStep(NamedTuple):
    """What an upgrade does next."""

    start: int
    """New replicas."""
    drain: int
    """Old ones."""


class RollingUpgrade:
    """The arithmetic of one upgrade."""

    def __init__(self, replicas: int, max_surge_percent: float, max_unavailable_percent: float) -> None:
        """``replicas`` is the number at its beginning, which it keeps."""
        self.replicas = replicas
        surge = ceil(replicas * max_surge_percent / 100)
        unavailable = floor(replicas * max_unavailable_percent / 100)
        # With neither nothing could ever change; Kubernetes takes one away then.
        self._unavailable = unavailable if surge or unavailable else 1
        self._surge = surge

    def step(self, old: int, old_ready: int, new: int, new_ready: int) -> UpgradeStep:
        """Return what follows; ``old`` and ``new`` count the replicas that do not drain, ready or not."""
        start = max(0, min(self.replicas - new, self.replicas + self._surge - old - new))
        new += start
        least = self.replicas - self._unavailable
        most = max(0, old + new - least - (new - new_ready))
        # Old ones that do not serve go first; of the others as many as are not needed.
        idle = min(old - old_ready, most)
        return UpgradeStep(start, idle + min(old_ready, most - idle, max(0, old_ready + new_ready - least)))
