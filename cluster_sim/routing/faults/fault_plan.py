"""All faults of a study, resolved before time starts: the timeline of every replica, of links and of the router."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from typing import ClassVar

from cluster_sim.engine.draws import stream_key
from cluster_sim.options import ConfigModel
from cluster_sim.routing.faults.fault_effects import (
    FaultEffect,
    FleetView,
    ReplicaFault,
    RouterFault,
    TransferFault,
    has_fault,
)
from cluster_sim.routing.faults.fault_interface import build_fault
from cluster_sim.routing.membership import Member
from cluster_sim.serving.lives.drawn_timeline import LAST_NS, DrawnIntervals, DrawnTimeline
from cluster_sim.serving.lives.intervals import Interval, united
from cluster_sim.serving.lives.timeline import NO_FAULTS, Timeline


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """The effects of all faults."""

    SNAPSHOT_WHOLE: ClassVar = True

    effects: tuple[FaultEffect, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.effects)

    def timeline_of(self, replica: int, pool: str, joins: bool = False) -> Timeline:
        """Return the timeline of a replica of a pool; ``joins`` says that the study did not start with it, so that the
        timeline must still be told of its birth.
        """
        mine = [
            effect
            for effect in self.effects
            if isinstance(effect, ReplicaFault) and has_fault(effect, replica, pool, joins=joins)
        ]
        if not mine:
            return NO_FAULTS
        spans = {kind: [span for effect in mine if effect.kind == kind for span in effect.intervals] for kind in _KINDS}
        scripted = Timeline(
            [span[:2] for span in spans["crash"]],
            [(span.start_ns, span.end_ns, span.factor) for span in spans["slowdown"]],
            [span[:2] for span in spans["hang"]],
            [span[:2] for span in spans["outage"]],
        )
        drawn = tuple(effect.drawn for effect in mine if effect.drawn is not None)
        if not drawn:
            return scripted
        return DrawnTimeline(0, replica, drawn, scripted)

    def timeline_of_member(self, member: Member) -> Timeline:
        """Return the timeline of a replica as the router knows it."""
        joins = member.birth_ns >= 0
        timeline = self.timeline_of(member.number, member.target.pool, joins)
        return timeline.born_at(member.birth_ns) if joins else timeline

    @property
    def router_restarts(self) -> "FaultTimes":
        """The times in which the router is away."""
        return FaultTimes(tuple(effect for effect in self.effects if isinstance(effect, RouterFault)), "router")

    @property
    def transfer_faults(self) -> tuple[TransferFault, ...]:
        """Faults of the links between replicas."""
        return tuple(effect for effect in self.effects if isinstance(effect, TransferFault))

    def transfer_times(self, fault: TransferFault, replica: int, birth_ns: int = 0) -> "FaultTimes":
        """Return the times of one such fault at the links of a replica; drawn ones count from ``birth_ns``."""
        return FaultTimes((fault,), f"links of replica {replica}", birth_ns)


_KINDS = ("crash", "slowdown", "hang", "outage")


@dataclass(frozen=True, slots=True)
class FaultTimes:
    """Disjoint times in rising order, perhaps without end; each iteration gives the same."""

    faults: tuple[RouterFault | TransferFault, ...]
    subject: str
    birth_ns: int = 0

    def __iter__(self) -> Iterator[Interval]:
        sources: list[Iterable[Interval]] = [fault.intervals for fault in self.faults]
        sources += [
            DrawnIntervals(
                fault.drawn, stream_key(0, self.subject, f"fault {fault.drawn.name}"), self.birth_ns, LAST_NS
            )
            for fault in self.faults
            if fault.drawn is not None
        ]
        return united(merge(*sources))


def plan_faults(blocks: Sequence[ConfigModel], fleet: FleetView) -> FaultPlan:
    """Resolve the ``faults`` of a study; raise InputError, which begins with the key, for targets that do not exist."""
    effects: list[FaultEffect] = []
    for number, options in enumerate(blocks):
        effects += build_fault(options, number).effects(fleet)
    return FaultPlan(tuple(effects))
