"""Snapshots of states: an object graph to bytes and back."""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from cluster_sim.snapshot.decoder import GraphDecoder
from cluster_sim.snapshot.encoder import GraphEncoder
from cluster_sim.snapshot.externals import Externals


def encode_graph(roots: Mapping[str, Any], externals: Externals) -> bytes:
    """Return the objects of ``roots`` with all that they hold; raise SnapshotError for what no snapshot can hold."""
    with _no_collection():
        return GraphEncoder(externals).encode(dict(roots))


def decode_graph(data: bytes, externals: Externals, into: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the roots; those that ``into`` has under the same names are filled in place.

    ``externals`` has equal things under the names that the state was written with.  Raises SnapshotError if it has not.
    """
    with _no_collection():
        roots: dict[str, Any] = GraphDecoder(data, externals).decode(into)
    return roots


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the collector of cycles away: it would visit every object again and again while a table of them grows."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
