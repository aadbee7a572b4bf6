"""Copies of objects by way of a snapshot."""

from typing import TypeVar

from cluster_sim.snapshot.externals import Externals
from cluster_sim.snapshot.graph import decode_graph, encode_graph

Value = TypeVar("Value")


def copied(value: Value, *outside: object) -> Value:
    """Return what a snapshot of an object restores; ``outside`` stays outside, with all that it holds."""
    externals = Externals(frozenset({"tests", type(value).__module__.partition(".")[0]}))
    for number, shared in enumerate(outside):
        externals.add_all(f"outside {number}", shared)
    restored: Value = decode_graph(encode_graph({"value": value}, externals), externals)["value"]
    return restored
