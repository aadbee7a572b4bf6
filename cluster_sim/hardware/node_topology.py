"""Links inside a node and between nodes, and the collectives that engines run on them.

GPUs of a node are joined all to all (NVLink with switches, xGMI), in pairs by bridges (0 and 1, 2 and 3, ...), or by
PCIe alone.  Engines have an all-reduce of their own that is faster than NCCL's on small tensors; it wants every pair of
GPUs joined, or two GPUs, inside one node (vLLM, ``vllm/distributed/device_communicators/custom_all_reduce.py``: "not
supported on more than two PCIe-only GPUs"; SGLang's is the same).  Elsewhere NCCL's ring takes its place:

    latency = 6.6 us + 2 (g - 1) h,   h = 0.6 us over NVLink, 1.0 us over PCIe, 2.7 us between nodes

(NCCL, ``src/graph/tuning.cc``: ``baseLat`` and ``hwLat`` of the ring with protocol LL), and its bytes pass the slowest
link of the ring.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from cluster_sim.errors import InputError
from cluster_sim.hardware.device import Device, Interconnect, Network

GpuLinks = Literal["all_to_all", "pairs", "none"]

RING_BASE_US: Final = 6.6
RING_NVLINK_US: Final = 0.6
RING_PCIE_US: Final = 1.0
RING_NETWORK_US: Final = 2.7

_LARGEST_CUSTOM: Final = 8
"""GPUs over which the engines' own all-reduce goes."""


class GroupLink(NamedTuple):
    """What a collective over a group of GPUs, or a message between two, passes."""

    bandwidth_bytes_per_s: float
    """Of the slowest link, for one GPU in one direction."""
    latency_us: float
    """Of one small collective over the group."""
    is_custom: bool = True
    """Whether the engine's own all-reduce runs on it."""


@dataclass(frozen=True, slots=True)
class NodeTopology:
    """Links of the GPUs of a replica, which are numbered by stage, then by rank, and fill node after node."""

    gpus: int
    """Of one node."""
    pairs: Interconnect | None
    """Joins the two GPUs of each pair; None if nothing but ``others`` joins them."""
    others: Interconnect
    """Joins the GPUs of a node."""
    network: Network
    """Joins nodes, per GPU."""

    def between(self, first: int, second: int) -> Interconnect | Network:
        """Return the link between two GPUs."""
        if first // self.gpus != second // self.gpus:
            return self.network
        if self.pairs is not None and first // 2 == second // 2:
            return self.pairs
        return self.others

    def group_link(self, members: Iterable[int]) -> GroupLink:
        """Return what a collective passes whose ring goes through ``members`` in order and back to the first."""
        gpus = list(members)
        links = [self.between(first, second) for first, second in zip(gpus, [*gpus[1:], gpus[0]], strict=True)]
        slowest = min(links, key=lambda link: link.bandwidth_bytes_per_s)
        is_inside = all(isinstance(link, Interconnect) for link in links)
        is_joined = all(isinstance(link, Interconnect) and link.joins_all for link in links)
        if is_inside and (len(gpus) <= 2 or (is_joined and len(gpus) <= _LARGEST_CUSTOM)):
            return GroupLink(slowest.bandwidth_bytes_per_s, max(link.latency_us for link in links))
        hop_us = max(_hop_us(link) for link in links)
        return GroupLink(slowest.bandwidth_bytes_per_s, RING_BASE_US + 2 * (len(gpus) - 1) * hop_us, is_custom=False)


def _hop_us(link: Interconnect | Network) -> float:
    if isinstance(link, Network):
        return RING_NETWORK_US
    return RING_PCIE_US if link.kind == "pcie" else RING_NVLINK_US


def node_topology(device: Device, gpus: int | None, gpu_links: GpuLinks | None, network: Network) -> NodeTopology:
    """Return the links of nodes of ``gpus`` GPUs (None: as the device's file says), joined by ``gpu_links``.

    None as ``gpu_links`` is the device's own link.  Raises InputError, which begins with a key of the pool, for links
    that the device does not have.
    """
    gpus = device.gpus_per_node if gpus is None else gpus
    own = device.interconnect
    if gpu_links is None:
        return NodeTopology(gpus, None, own, network)
    if gpu_links == "all_to_all":
        if not own.joins_all:
            raise InputError(
                f"node.gpu_links: nothing but PCIe joins the GPUs of a node of {device.name}; use none"
                f"{', or pairs with NVLink bridges' if device.bridge else ''}"
            )
        return NodeTopology(gpus, None, own, network)
    pcie = own if own.kind == "pcie" else device.pcie
    if pcie is None:
        raise InputError(
            f"node.gpu_links: the file of {device.name} names no PCIe link between its GPUs; use all_to_all, or give "
            "one as pcie in a device file of your own"
        )
    if gpu_links == "none":
        return NodeTopology(gpus, None, pcie, network)
    bridge = device.bridge or (own if own.joins_all else None)
    if bridge is None:
        raise InputError(f"node.gpu_links: {device.name} has no NVLink bridge; use none")
    return NodeTopology(gpus, bridge, pcie, network)
