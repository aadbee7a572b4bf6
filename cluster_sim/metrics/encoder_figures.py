"""Figures of encoders that stand apart from the replicas: what they did, what they cost, and what they used."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from cluster_sim.metrics.window import Window
from cluster_sim.units import NS_PER_S


class EncoderWork(NamedTuple):
    """Work of all encoders up to the end of a run, plain data."""

    requests: int
    """Requests whose media they were given."""
    busy_ns: int


@dataclass(frozen=True, slots=True)
class EncoderMetadata:
    """Encoders of a run, which exist from its beginning to its end."""

    instances: int
    gpus_per_instance: int
    price_usd_per_gpu_hour: float
    idle_w: float
    busy_w: float

    @property
    def gpus(self) -> int:
        """GPUs of all of them."""
        return self.instances * self.gpus_per_instance

    def gpu_hours(self, window: Window) -> float:
        """Return the GPU hours of a window."""
        return self.gpus * window.duration_s / 3600

    def cost_usd(self, window: Window) -> float:
        """Return the price of a window."""
        return self.gpu_hours(window) * self.price_usd_per_gpu_hour

    def energy_j(self, work: EncoderWork, end_ns: int) -> float:
        """Return the joules of a run that ends at ``end_ns``."""
        whole_s, busy_s = self._times_s(work, end_ns)
        return self.idle_w * (whole_s - busy_s) + self.busy_w * busy_s

    def entry(self, work: EncoderWork, window: Window, end_ns: int) -> dict[str, Any]:
        """Return the ``encoders`` block of a summary; the work is that of the whole run."""
        whole_s, busy_s = self._times_s(work, end_ns)
        return {
            "instances": self.instances,
            "gpus": self.gpus,
            "requests": work.requests,
            "busy_s": busy_s,
            "busy_ratio": busy_s / whole_s if whole_s else 0.0,
            "gpu_hours": self.gpu_hours(window),
            "cost_usd": self.cost_usd(window),
            "energy_j": self.energy_j(work, end_ns),
        }

    def _times_s(self, work: EncoderWork, end_ns: int) -> tuple[float, float]:
        """Return (time for which all of them are there, time for which they work) of a run."""
        return self.instances * end_ns / NS_PER_S, work.busy_ns / NS_PER_S
