"""Scalers: the axis, its registry, the options that all share, and the interface of every scaler.

A scaler is asked at instants of its own choosing and answers with the replicas that each pool should have.  It reads
nothing but ``ScalerMetrics``, so the same object serves in a run and against a recorded file of metrics.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from cluster_sim.options import LONGEST_RUN_S, ConfigModel
from cluster_sim.registry import Registry
from cluster_sim.routing.scaling.load_curve import LoadCurve
from cluster_sim.routing.scaling.metrics import ScalerMetrics
from cluster_sim.units import NS_PER_S

SCALERS: Final = Registry[type["Scaler"]]("scaler", "cluster_sim.routing.scaling.scalers", "cluster_sim.scalers")
"""Scalers, each made from its options and the pools that it acts on."""

MOST_SCALED = 100_000
"""Replicas of a pool that a scaler may ask for."""


class ReplicaBounds(ConfigModel):
    """Least and most replicas of one pool."""

    min_replicas: int = Field(1, ge=0, le=MOST_SCALED, description="Least replicas; 0 scales to zero.")
    max_replicas: int = Field(10, ge=1, le=MOST_SCALED, description="Most replicas.")

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError(
                f"min_replicas: {self.min_replicas} is above max_replicas: {self.max_replicas}; lower the first or "
                "raise the second"
            )
        return self


class AutoscalerOptions(ReplicaBounds):
    """The autoscaler of a study; ``kind`` tells the scalers apart, each of which adds options."""

    kind: str
    pools: tuple[str, ...] = Field((), description="Pools that it acts on, by name; none means every pool.")
    bounds: dict[str, ReplicaBounds] = Field(
        {}, description="Bounds of single pools, by name, in place of min_replicas and max_replicas."
    )
    gpu_budget: int | None = Field(
        None, ge=1, le=10_000_000, description="Most GPUs of all its pools together; null sets no limit."
    )
    device_budgets: dict[str, Annotated[int, Field(ge=0, le=10_000_000)]] = Field(
        {}, description="Most GPUs of single devices, by the device's name as the pools give it."
    )
    victim: Literal["youngest", "oldest", "least_outstanding"] = Field(
        "youngest",
        description="Replica that goes first: the youngest (Kubernetes), the oldest, or that with the fewest requests; "
        "replicas that start go before all others.",
    )
    sample_period_s: float = Field(
        15.0, gt=0, le=LONGEST_RUN_S, description="Time between two samples of the replicas, for metrics of replicas."
    )
    sample_latency_s: float = Field(
        0.0, ge=0, le=LONGEST_RUN_S, description="Time from a sample until the scaler can read it."
    )

    def bounds_of(self, pool: str) -> ReplicaBounds:
        """Return the bounds of a pool."""
        return self.bounds.get(pool, self)


if TYPE_CHECKING:
    AutoscalerConfig = AutoscalerOptions
else:
    AutoscalerConfig = SCALERS.annotation()


@dataclass(frozen=True, slots=True)
class ScaledPool:
    """What a scaler knows of a pool before time starts."""

    name: str
    model: str = ""
    device: str = ""
    role: str = "both"
    gpus_per_replica: int = 1
    usd_per_hour: float = 0.0
    """Price of one replica."""
    min_replicas: int = 1
    max_replicas: int = 10
    cold_start_ns: int = 0
    drain_grace_ns: int = 0


class Scaler(ABC):
    """Decides how many replicas each of its pools should have."""

    sampled_fields: ClassVar[frozenset[str]] = frozenset()
    """Figures of samples that it reads whatever its options say, of ``SAMPLED_METRICS``."""
    knows_load: ClassVar[bool] = False
    """Whether it is given the load to come; only a yardstick may be."""

    def __init__(self, options: AutoscalerOptions, pools: Sequence[ScaledPool], load: LoadCurve | None = None) -> None:
        """``load`` is for classes that declare ``knows_load``; it may also come before the first decision."""
        self.options = options
        self.pools = tuple(pools)
        self.load = load

    @property
    def samples(self) -> frozenset[str]:
        """The figures of samples that it reads; none means that the router's counts suffice."""
        return self.sampled_fields

    @property
    def bin_ns(self) -> int:
        """Length of the bins in which it is given the load to come."""
        return 10 * NS_PER_S

    @property
    def first_ns(self) -> int:
        """When it decides first."""
        return self.next_ns(0)

    @abstractmethod
    def next_ns(self, now_ns: int) -> int:
        """Return when it decides next, later than ``now_ns``; negative for never again."""

    @abstractmethod
    def decide(self, metrics: ScalerMetrics, now_ns: int) -> Mapping[str, int]:
        """Return the replicas that each of its pools should have; the bounds and budgets are applied to it later."""


def clamped(replicas: int, pool: ScaledPool) -> int:
    """Return a number of replicas within the bounds of a pool."""
    return min(max(replicas, pool.min_replicas), pool.max_replicas)


def next_multiple(now_ns: int, period_s: float) -> int:
    """Return the first multiple of a period after ``now_ns``, in ns."""
    period_ns = max(1, round(period_s * NS_PER_S))
    return (now_ns // period_ns + 1) * period_ns
