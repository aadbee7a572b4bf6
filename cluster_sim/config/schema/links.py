"""Links of the fleet: inside the nodes of a pool, out of them, and between two pools."""

from typing import Literal

from pydantic import Field

from cluster_sim.config.schema.sites import LinkEnds
from cluster_sim.hardware.interconnect.directions import Direction, parse_direction
from cluster_sim.options import ConfigModel, LinkName


class Node(ConfigModel):
    """The nodes on which the replicas of a pool run; what is left out is as the device's file says."""

    gpus: int | None = Field(None, ge=1, le=4096, description="GPUs of one node.")
    gpu_links: Literal["all_to_all", "pairs", "none"] | None = Field(
        None,
        description="What joins the GPUs of a node: NVLink all to all, NVLink bridges between two, or PCIe alone; null "
        "is the device's own link, on which step times were measured.",
    )
    nic: LinkName | None = Field(
        None,
        description="Network cards of a node: a name of conf/links, or the path of a file of that layout; null is the "
        "device's network.",
    )
    nics_per_gpu: float = Field(
        1.0, gt=0, le=64, description="Network cards for each GPU; below 1 the GPUs of a node share its cards."
    )


class PoolLink(ConfigModel):
    """A link of its own between the replicas of two pools, for transfers of KV cache."""

    between: LinkEnds = Field(description="The two pools: 'a - b' for both directions, 'a -> b' for one.")
    link: LinkName = Field(description="A name of conf/links, or the path of a file of that layout.")
    links_per_gpu: float = Field(1.0, gt=0, le=64, description="Such links for each GPU.")

    @property
    def direction(self) -> Direction:
        """The ends."""
        return parse_direction(self.between)
