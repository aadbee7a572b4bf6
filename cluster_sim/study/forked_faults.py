"""Faults of a branch: what must be as it was, because it happened before the checkpoint or was decided by then."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.routing.faults.fault_effects import FaultEffect, FleetView, ReplicaFault, RouterFault, has_fault
from cluster_sim.routing.faults.fault_interface import build_fault
from cluster_sim.serving.lives.intervals import FOREVER_NS
from cluster_sim.simulation.checkpoint import Checkpoint
from cluster_sim.simulation.hub_components import fleet_view
from cluster_sim.units import NS_PER_S

FAULTS_KEY: Final = "faults"


class _Scripted(NamedTuple):
    """A fault at a given time."""

    what: tuple[Any, ...]
    """All that makes it what it is."""
    start_ns: int
    key: str
    """Of the study."""
    replicas: frozenset[int]
    """Whose steps it may change."""


def is_fault_key(key: str) -> bool:
    """Return whether a key is that of faults, or of one of them."""
    return key.partition(".")[0] == FAULTS_KEY


def with_faults(checkpoint: Checkpoint, values: Mapping[str, Any]) -> Study:
    """Return the study of a checkpoint with other faults by dotted keys; raises InputError for faults that cannot begin
    or change from its time on.
    """
    base = checkpoint.study
    if not values:
        return base
    study = base.with_changes(values)
    before, after = ((each, fleet_view(each)) for each in (base, study))
    drawn_before, drawn_after = (dict(_drawn(*each)) for each in (before, after))
    for effect in [*drawn_after, *drawn_before]:
        if (effect in drawn_after) != (effect in drawn_before):
            key = drawn_after.get(effect) or drawn_before[effect]
            raise InputError(
                f"fork: {key}: its times are drawn from the start of the run on, so it can neither begin nor change in "
                "a branch; give at_s, and leave faults with drawn times at their places in the list"
            )
    old, new = ({fault.what: fault for fault in _scripted(checkpoint, *each)} for each in (before, after))
    for what, fault in [*new.items(), *old.items()]:
        if (what in new) != (what in old):
            _check_time(checkpoint, fault, is_new=what in new)
    return study


def _check_time(checkpoint: Checkpoint, fault: _Scripted, *, is_new: bool) -> None:
    """Raise InputError for a fault that begins or is left out too early."""
    verb = "begins" if is_new else "is left out, and begins"
    start_s = fault.start_ns / NS_PER_S
    if fault.start_ns < checkpoint.at_ns:
        raise InputError(
            f"fork: {fault.key}: {verb} at {start_s:g} s, before the checkpoint at {checkpoint.at_s:g} s; faults of "
            "before stay as they were, others begin at that time or later"
        )
    ahead = checkpoint.replicas
    decided_ns, number = max(((ahead[n].decided_ns, n) for n in fault.replicas if n < len(ahead)), default=(-1, -1))
    if fault.start_ns <= decided_ns:
        until = "the end" if decided_ns >= FOREVER_NS else f"{decided_ns / NS_PER_S:.9g} s"
        raise InputError(
            f"fork: {fault.key}: {verb} at {start_s:g} s, but what replica {number} does until {until} was decided "
            "when the state was kept; give a later time, or make a checkpoint further ahead of it"
        )


def _effects(study: Study, fleet: FleetView) -> Iterator[tuple[str, FaultEffect]]:
    """Yield what the faults of a study do, with their keys."""
    for number, options in enumerate(study.faults):
        for effect in build_fault(options, number).effects(fleet):
            yield f"{FAULTS_KEY}.{number}", effect


def _drawn(study: Study, fleet: FleetView) -> Iterator[tuple[FaultEffect, str]]:
    return ((effect, key) for key, effect in _effects(study, fleet) if effect.drawn is not None)


def _scripted(checkpoint: Checkpoint, study: Study, fleet: FleetView) -> Iterator[_Scripted]:
    """Yield the faults at given times."""
    for key, effect in _effects(study, fleet):
        replicas: frozenset[int] = frozenset()
        if isinstance(effect, ReplicaFault):
            joined = range(fleet.total, len(checkpoint.replicas))
            joined_too = (n for n in joined if has_fault(effect, n, checkpoint.replicas[n].pool, joins=True))
            replicas = effect.replicas.union(joined_too)
        rest: tuple[Any, ...] = () if isinstance(effect, RouterFault) else tuple(effect._replace(intervals=()))
        for interval in effect.intervals:
            yield _Scripted((type(effect), *rest, *interval), interval.start_ns, key, replicas)
