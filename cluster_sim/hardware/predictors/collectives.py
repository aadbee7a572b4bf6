"""Collectives between the GPUs of a replica: their time if no operator profile has measured them."""

from dataclasses import dataclass
from typing import Final

from cluster_sim.hardware.device import Device, Interconnect, Network
from cluster_sim.hardware.node_topology import GroupLink

LINK_RATIO: Final = 0.60
"""Share of a link's bandwidth that collectives reach if it was not measured."""


@dataclass(frozen=True, slots=True)
class Collectives:
    """A latency each and a rate of bytes, as seen by one GPU."""

    latency_us: float
    bytes_per_s: float

    @classmethod
    def by_data_sheet(cls, device: Device) -> "Collectives":
        """Return those of the link inside the node, at the rate that the roofline reckons with."""
        return cls.of_link(device.interconnect)

    @classmethod
    def of_link(cls, link: Interconnect | Network | GroupLink) -> "Collectives":
        """Return those of a link, at the rate that the roofline reckons with."""
        return cls(link.latency_us, link.bandwidth_bytes_per_s * LINK_RATIO)

    def all_reduce_us(self, gpus: int, size_bytes: float) -> float:
        """Return one ring all-reduce of ``size_bytes`` on each of ``gpus``, us: 2 (g - 1) / g of them pass a link."""
        return self.latency_us + 2.0 * (gpus - 1) / gpus * size_bytes / self.bytes_per_s * 1e6

    def exchange_us(self, received_bytes: float) -> float:
        """Return a gathering and a scattering in which a GPU receives ``received_bytes`` altogether, us."""
        return 2.0 * self.latency_us + received_bytes / self.bytes_per_s * 1e6
