"""Settings of the monitor of a run."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class MonitorSettings:
    """How a run is watched; plain data, which the hub's process gets wherever it is."""

    speedup: float | None = None
    """Simulated seconds per wall second to pace the run at; None runs as fast as possible."""
    metrics_port: int | None = None
    """TCP port that serves live Prometheus metrics; None serves none."""
    labels: dict[str, str] = field(default_factory=dict)
    """Describe the run in live metrics."""
