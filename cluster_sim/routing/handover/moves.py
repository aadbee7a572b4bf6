"""Moves of KV caches over the ports of replicas: links, bytes and start times of the transfers of a hand-over.

A replica has a port out and a port in, each as wide as the links of its GPUs together.  The router hears of the start
of a transfer a return link late, and the decode replica of its end a forward link late, although the two replicas need
no router between them.  What moves in that time alone on its way is taken off at the start, so that a transfer without
others beside it ends when it would, unless it is shorter than both links.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from cluster_sim.routing.handover.connector_interface import Move
from cluster_sim.routing.handover.kv_layout import KvLayout
from cluster_sim.routing.handover.options import HandoverOptions
from cluster_sim.routing.handover.transfers import LinkId, TransferKey, Transfers
from cluster_sim.units import NS_PER_S


@dataclass(frozen=True, slots=True)
class Port:
    """What joins the replicas of a pool to others."""

    layout: KvLayout
    bytes_per_s: int
    """In one direction, over all GPUs of a replica."""


class Moves:
    """The transfers under way between replicas, by their numbers."""

    def __init__(self, options: HandoverOptions, ports: Mapping[int, Port]) -> None:
        """``ports`` by the number of the pool."""
        self._options = options
        self._ports = ports
        self.transfers = Transfers({})
        self._known: dict[int, None] = {}
        """Replicas whose ports the transfers know."""

    def connect(self, replica: int, pool: int, now_ns: int) -> None:
        """Add the ports of a replica, if it is new."""
        if replica not in self._known:
            self._known[replica] = None
            for kind in ("in", "out"):
                self.transfers.set_capacity((kind, replica), self._ports[pool].bytes_per_s, now_ns)

    def start(
        self, key: TransferKey, move: Move, replicas: tuple[int, int], decode_pool: int, now_ns: int, *, early_ns: int
    ) -> int:
        """Start a move from the first of ``replicas`` to the second, ``early_ns`` of which the router does not see;
        return its bytes.
        """
        layout, options = self._ports[decode_pool].layout, self._options
        blocks = layout.blocks(move.first_token, move.end_token)
        total_bytes = layout.bytes_of(blocks)
        links: tuple[LinkId, ...] = (("out", replicas[0]), ("in", replicas[1]))
        rate = NS_PER_S * total_bytes // max(self.transfers.alone_ns(links, total_bytes), 1)
        left_bytes = total_bytes
        if move.overlapped_ns:
            others = layout.layers - 1
            sent = rate * (move.overlapped_ns * others // layout.layers) // NS_PER_S
            left_bytes -= min(total_bytes * others // layout.layers, sent)
        wait_ns = options.start_ns(layout.descriptors(blocks)) - early_ns
        if wait_ns < 0:
            left_bytes = max(0, left_bytes - rate * -wait_ns // NS_PER_S)
        self.transfers.start(key, links, left_bytes, now_ns + max(wait_ns, 0), now_ns)
        return total_bytes
