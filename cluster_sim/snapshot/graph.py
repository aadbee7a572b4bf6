"""Snapshots of states: an object graph to bytes and back."""

from collections.abc import Mapping
from typing import Any

from cluster_sim.snapshot.decoder import GraphDecoder
from cluster_sim.snapshot.encoder import GraphEncoder
from cluster_sim.snapshot.externals import Externals


def encode_graph(roots: Mapping[str, Any], externals: Externals) -> bytes:
    """Return the objects of ``roots`` with all that they hold; raise SnapshotError for what no snapshot can hold."""
    return GraphEncoder(externals).encode(dict(roots))


def decode_graph(data: bytes, externals: Externals, into: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the roots; those that ``into`` has under the same names are filled in place.

    ``externals`` has equal things under the names that the state was written with.  Raises SnapshotError if it has not.
    """
    roots: dict[str, Any] = GraphDecoder(data, externals).decode(into)
    return roots
