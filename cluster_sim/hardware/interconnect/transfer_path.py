"""Links that a transfer between two replicas passes: what they carry, who shares them, and how long a start takes.

Every replica has ports through which all its transfers go out, and others through which they come in: the links of its
GPUs, or their share of the node's network cards.  Where cards are fewer than GPUs, the node's are shared by the
replicas on it.  Two pools may be joined by links of their own (``fleet.links``), and transfers between sites pass the
routes between these.  All of this is known before a run starts; nothing here depends on the time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from cluster_sim.hardware.interconnect.site_routes import SiteRoutes
from cluster_sim.units import NS_PER_US

OUT: Final = "out"
IN: Final = "in"
NODE_OUT: Final = "node out"
NODE_IN: Final = "node in"

LinkId = tuple[str, int]
"""(kind of link, number): (``OUT``, replica), (``IN``, replica), (``NODE_OUT``, node), (``NODE_IN``, node), or
("route a -> b", 0)."""


class Port(NamedTuple):
    """The links of one GPU, or its network cards."""

    bytes_per_s: float
    """By data sheet, for one link or card, in one direction."""
    latency_us: float
    achieved_ratio: float = 0.8
    """Share that bulk transfers reach."""
    per_gpu: float = 1.0
    """Links or cards of one GPU; below 1 the GPUs of a node share its cards."""


class SharedLink(NamedTuple):
    """One link of a path, and what it carries for all transfers together."""

    link: LinkId
    bytes_per_s: int
    """By data sheet."""
    achieved_ratio: float = 1.0

    @property
    def achieved_bytes_per_s(self) -> int:
        """What bulk transfers reach."""
        return max(1, round(self.bytes_per_s * self.achieved_ratio))


class TransferPath(NamedTuple):
    """The way from one replica to another."""

    links: tuple[SharedLink, ...]
    latency_ns: int
    """Until the first byte moves: of the ports, and of the routes between sites."""


@dataclass(frozen=True, slots=True)
class PoolPlace:
    """Where the replicas of a pool stand, and what joins them to others."""

    name: str
    gpus: int
    """Of one replica."""
    node_gpus: int
    """Of one node."""
    port: Port
    """Network cards, per GPU."""
    site: str = ""
    first_node: int = 0
    """Number of the pool's first node; replicas fill node after node, and no node has replicas of two pools."""

    @property
    def per_node(self) -> int:
        """Replicas of one node; 1 if a replica takes several."""
        return max(1, self.node_gpus // self.gpus)

    def node(self, ordinal: int) -> int:
        """Return the (first) node of the pool's replica that counts ``ordinal`` from 0."""
        return self.first_node + ordinal // self.per_node * max(1, -(-self.gpus // self.node_gpus))


@dataclass(frozen=True, slots=True)
class FleetLinks:
    """What joins the replicas of a fleet: the pools in their order, links between pools, routes between sites."""

    pools: tuple[PoolPlace, ...] = ()
    joined: Mapping[tuple[str, str], Port] = field(default_factory=dict)
    """Links of their own between two pools, by (from, to)."""
    routes: SiteRoutes = field(default_factory=SiteRoutes)

    def path(self, source: "Place", target: "Place") -> TransferPath | None:
        """Return the way of a transfer from one replica to another; None if no route leads to its site."""
        out, into = self.pools[source.pool], self.pools[target.pool]
        way = self.routes.way(out.site, into.site)
        if way is None:
            return None
        own = self.joined.get((out.name, into.name))
        outgoing, incoming = own or out.port, own or into.port
        links = [
            *_ports(out, source, outgoing, OUT, NODE_OUT),
            *_ports(into, target, incoming, IN, NODE_IN),
        ]
        for start, end in way.routes:
            rate = self.routes.routes[start, end].bytes_per_s
            if rate is not None:
                links.append(SharedLink((f"route {start} -> {end}", 0), rate))
        latency_us = max(outgoing.latency_us, incoming.latency_us)
        return TransferPath(tuple(links), round(latency_us * NS_PER_US) + way.latency_ns)


class Place(NamedTuple):
    """One replica."""

    replica: int
    """Its number in the fleet."""
    pool: int
    """Index of its pool."""
    ordinal: int
    """Counts the replicas of the pool from 0, those that join included."""


def _ports(pool: PoolPlace, place: Place, port: Port, own: str, of_node: str) -> list[SharedLink]:
    """Return the links of one end: the replica's, and the node's if GPUs share network cards."""
    cards = max(1.0, pool.gpus * port.per_gpu)
    links = [SharedLink((own, place.replica), round(cards * port.bytes_per_s), port.achieved_ratio)]
    if port.per_gpu < 1 and pool.per_node > 1:
        of_all = max(1.0, pool.node_gpus * port.per_gpu)
        node = pool.node(place.ordinal)
        links.append(SharedLink((of_node, node), round(of_all * port.bytes_per_s), port.achieved_ratio))
    return links
