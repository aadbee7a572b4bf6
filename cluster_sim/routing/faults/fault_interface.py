"""Kinds of simulated faults: the axis, its registry, and the options that every kind has.

A fault has either given times (``at_s``, lasting ``duration_s``) or drawn ones (``mtbf_s``, ``mttr_s``).  Draws are
keyed by the fault's own seed and by what fails, so neither the study's seed, nor the load, nor the placement changes
them.
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from cluster_sim.errors import InputError
from cluster_sim.options import LONGEST_RUN_S, ConfigModel, listed
from cluster_sim.registry import Registry
from cluster_sim.routing.faults.fault_effects import FaultEffect, FleetView, ReplicaFault, ReplicaFaultKind
from cluster_sim.serving.lives.drawn_timeline import DrawnFault
from cluster_sim.serving.lives.intervals import FOREVER_NS, Interval
from cluster_sim.suggestion import suggestion
from cluster_sim.units import NS_PER_S

FAULT_KINDS: Final = Registry[type["Fault"]](
    "fault kind",
    "cluster_sim.routing.faults.kinds",
    "cluster_sim.fault_kinds",
    chooser="kind of fault",
)
"""Kinds, each made from its options and its number in the study's list."""

if TYPE_CHECKING:
    FaultBlock = ConfigModel
else:
    FaultBlock = FAULT_KINDS.annotation()

Seconds = Annotated[float, Field(ge=0, le=LONGEST_RUN_S)]
Lasting = Annotated[float, Field(ge=1e-9, le=LONGEST_RUN_S)]


class FaultOptions(ConfigModel):
    """Times of a fault: given ones or drawn ones."""

    default_duration_s: ClassVar[float] = 60.0

    kind: str
    at_s: tuple[Seconds, ...] | Seconds | None = Field(None, description="Simulated time or times at which it begins.")
    duration_s: Lasting | None = Field(
        None, description="Time that it lasts from each at_s on; null is the usual time of its kind."
    )
    is_permanent: bool = Field(False, description="Whether it never ends, from at_s on.")
    mtbf_s: Lasting | None = Field(
        None, description="Mean time from the end of a fault to the next, where the times are drawn."
    )
    mttr_s: Lasting | None = Field(
        None, description="Mean time that a drawn fault lasts; null is the usual time of its kind."
    )
    distribution: Literal["exponential", "fixed"] = Field(
        "exponential", description="Whether drawn times are exponentially distributed or always the means."
    )
    seed: int = Field(0, ge=0, lt=1 << 63, description="Seed of the draws, apart from that of the study.")

    @model_validator(mode="after")
    def _has_times(self) -> Self:
        if (self.at_s is None) == (self.mtbf_s is None):
            raise ValueError("needs at_s, or mtbf_s for drawn times, and not both")
        # A study that is written out names every key, so what is as if left out does no harm.
        drawn, scripted = (
            [name for name in names if getattr(self, name) != FaultOptions.model_fields[name].default]
            for names in (("mttr_s", "seed", "distribution"), ("duration_s", "is_permanent"))
        )
        if self.mtbf_s is None and drawn:
            raise ValueError(f"{listed(drawn)} has no meaning without mtbf_s")
        if self.at_s is None and scripted:
            raise ValueError(f"{listed(scripted)} has no meaning with mtbf_s; set mttr_s")
        if self.is_permanent and self.duration_s is not None:
            raise ValueError("duration_s has no meaning for a fault that is permanent")
        return self

    def intervals(self, factor: float = 1.0) -> tuple[Interval, ...]:
        """Return the given times, in order; none if the times are drawn."""
        if self.at_s is None:
            return ()
        starts_s = self.at_s if isinstance(self.at_s, tuple) else (self.at_s,)
        lasts_ns = max(1, round((self.duration_s or self.default_duration_s) * NS_PER_S))
        found = []
        for start_s in sorted(starts_s):
            start_ns = round(start_s * NS_PER_S)
            found.append(Interval(start_ns, FOREVER_NS if self.is_permanent else start_ns + lasts_ns, factor))
        return tuple(found)


class TargetedOptions(FaultOptions):
    """A fault of replicas: of some by number, or of every one of a pool."""

    pool: str | None = Field(None, description="Pool whose replicas have it, each at times of its own if drawn.")
    replicas: tuple[Annotated[int, Field(ge=0, le=10_000_000)], ...] | None = Field(
        None, min_length=1, max_length=100_000, description="Numbers of the replicas that have it, counted from 0."
    )

    @model_validator(mode="after")
    def _has_a_target(self) -> Self:
        if (self.pool is None) == (self.replicas is None):
            raise ValueError("needs pool or replicas, and not both")
        return self

    def targets(self, key: str, fleet: FleetView) -> frozenset[int]:
        """Return the numbers of the replicas; raise InputError, which begins with a key below ``key``, for others."""
        if self.pool is not None:
            return frozenset(pool_named(self.pool, f"{key}.pool", fleet))
        assert self.replicas is not None
        for index, replica in enumerate(self.replicas):
            check_replica(replica, f"{key}.replicas.{index}", fleet)
        return frozenset(self.replicas)


def pool_named(name: str, key: str, fleet: FleetView) -> range:
    """Return the replicas of a pool; raise InputError if there is none of that name."""
    names = [pool.name for pool in fleet.pools]
    for pool in fleet.pools:
        if pool.name == name:
            return pool.replicas
    raise InputError(f"{key}: no pool is named {name!r}{suggestion(name, names)}; there are: {', '.join(names)}")


def check_replica(replica: int, key: str, fleet: FleetView) -> None:
    """Raise InputError if no replica has a number."""
    if not 0 <= replica < fleet.total:
        raise InputError(
            f"{key}: there is no replica {replica}; the study's {fleet.total} are numbered from 0 to {fleet.total - 1}"
        )


class Fault(ABC):
    """One fault of a study."""

    def __init__(self, options: FaultOptions, number: int) -> None:
        """``number`` is the place in the study's list; it keys draws and names the fault in messages."""
        self.options = options
        self.number = number

    @property
    def key(self) -> str:
        """The key of the study that the fault stands under."""
        return f"faults.{self.number}"

    @abstractmethod
    def effects(self, fleet: FleetView) -> list[FaultEffect]:
        """Return what the fault does; raise InputError, which begins with the key, for targets that do not exist."""

    def drawn(self, kind: ReplicaFaultKind, factor: float = 1.0, subject: str = "") -> DrawnFault | None:
        """Return the fault with its drawn times, None if they are given."""
        options = self.options
        if options.mtbf_s is None:
            return None
        mttr_s = options.default_duration_s if options.mttr_s is None else options.mttr_s
        return DrawnFault(
            name=f"{self.number} {options.kind} {options.seed}",
            kind=kind,
            mtbf_ns=max(1, round(options.mtbf_s * NS_PER_S)),
            mttr_ns=max(1, round(mttr_s * NS_PER_S)),
            factor=factor,
            is_exponential=options.distribution == "exponential",
            subject=subject,
        )

    def of_replicas(self, fleet: FleetView, kind: ReplicaFaultKind, factor: float = 1.0) -> list[FaultEffect]:
        """Return the effect of a fault that befalls each of its replicas by itself."""
        options = self.options
        assert isinstance(options, TargetedOptions)
        replicas = options.targets(self.key, fleet)
        joins = options.pool or ""
        return [ReplicaFault(kind, replicas, joins, options.intervals(factor), self.drawn(kind, factor))]


def build_fault(options: ConfigModel, number: int) -> Fault:
    """Build the fault that entry ``number`` of a study's list describes."""
    assert isinstance(options, FaultOptions)
    return FAULT_KINDS.chosen_by(options).part(options, number)
