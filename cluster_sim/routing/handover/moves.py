"""Moves of KV caches between replicas: links, bytes and start times of the transfers of a hand-over.

The router hears of the start of a transfer a return link late, and the decode replica of its end a forward link late,
although the two replicas need no router between them.  What moves in that time alone on its way is taken off at the
start, so that a transfer without others beside it ends when it would, unless it is shorter than both links.  Where
ports are degraded, what they carry at the start counts for it.
"""

from collections.abc import Mapping

from cluster_sim.hardware.interconnect.transfer_path import IN, OUT, FleetLinks, LinkId, Place, TransferPath
from cluster_sim.routing.handover.connector_interface import Move
from cluster_sim.routing.handover.kv_layout import KvLayout
from cluster_sim.routing.handover.options import HandoverOptions
from cluster_sim.routing.handover.transfers import TransferKey, Transfers
from cluster_sim.units import NS_PER_S


class Moves:
    """The transfers under way."""

    def __init__(self, links: FleetLinks, layouts: Mapping[int, KvLayout]) -> None:
        """``layouts`` by the number of the pool."""
        self._links = links
        self._layouts = layouts
        self.transfers = Transfers({})
        self._paths: dict[tuple[int, int], TransferPath] = {}
        self._whole: dict[LinkId, int] = {}
        """What the ports of replicas carry when they are not degraded, in bytes per second."""
        self._left: dict[int, float] = {}
        """Share of it that is left, by the number of the replica, where one has been degraded."""

    def start(
        self,
        key: TransferKey,
        move: Move,
        places: tuple[Place, Place],
        options: HandoverOptions,
        now_ns: int,
        *,
        early_ns: int,
    ) -> int:
        """Start a move from the first of ``places`` to the second, ``early_ns`` of which the router does not see;
        return its bytes.
        """
        layout, path = self._layouts[places[1].pool], self._path(places, now_ns)
        blocks = layout.blocks(move.first_token, move.end_token)
        total_bytes = layout.bytes_of(blocks)
        rate = min(self.transfers.capacity(shared.link) for shared in path.links)
        left_bytes = total_bytes
        if move.overlapped_ns:
            others = layout.layers - 1
            sent = rate * (move.overlapped_ns * others // layout.layers) // NS_PER_S
            left_bytes -= min(total_bytes * others // layout.layers, sent)
        wait_ns = path.latency_ns + options.start_ns(layout.descriptors(blocks)) - early_ns
        if wait_ns < 0:
            left_bytes = max(0, left_bytes - rate * -wait_ns // NS_PER_S)
        links = [shared.link for shared in path.links]
        self.transfers.start(key, links, left_bytes, now_ns + max(wait_ns, 0), now_ns)
        return total_bytes

    def degrade(self, replica: int, bandwidth_ratio: float, now_ns: int) -> None:
        """Leave the ports of a replica a share of what they carry, 1 for all of it, whatever it was before."""
        self._left[replica] = bandwidth_ratio
        for link in ((OUT, replica), (IN, replica)):
            if link in self._whole:
                self.transfers.set_capacity(link, round(self._whole[link] * bandwidth_ratio), now_ns)

    def _path(self, places: tuple[Place, Place], now_ns: int) -> TransferPath:
        """Return the way between two replicas, whose links the transfers know from now on."""
        source, target = places
        known = self._paths.get((source.replica, target.replica))
        if known is not None:
            return known
        path = self._links.path(source, target)
        assert path is not None, "pools without a way between them are refused before"
        for shared in path.links:
            if not self.transfers.has_link(shared.link):
                capacity, (kind, number) = shared.achieved_bytes_per_s, shared.link
                if kind in {OUT, IN}:
                    self._whole[shared.link] = capacity
                    if number in self._left:
                        capacity = round(capacity * self._left[number])
                self.transfers.set_capacity(shared.link, capacity, now_ns)
        self._paths[source.replica, target.replica] = path
        return path
