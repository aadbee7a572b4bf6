"""Settings of the monitor of a run."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MonitorSettings:
    """How a run is watched; plain data, which the hub's process gets wherever it is."""

    speedup: float | None = None
    """Simulated seconds per wall second to pace the run at; None runs as fast as possible."""
    is_live: bool = False
    """Whether snapshots are made for live metrics."""
