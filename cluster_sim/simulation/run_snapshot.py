"""Snapshot of a run: the states of all its processes at one window edge."""

from typing import NamedTuple


class SkippedSnapshotError(Exception):
    """No snapshot can be taken now: the run ends, or a part of it is lost."""


class RunSnapshot(NamedTuple):
    """The state of a run at a window edge."""

    router: bytes
    groups: tuple[bytes, ...]
    """Replicas by the group that they were in, which those who restore them need not keep."""
    members: tuple[tuple[int, ...], ...]
    """Sources of the replicas in each of ``groups``."""
    simulated_ns: int
    wall_s: float
    """Of the simulation so far."""
    branches_at_ns: int = -1
    """From when on another run goes on from here than that which the state is of; -1: the same."""
