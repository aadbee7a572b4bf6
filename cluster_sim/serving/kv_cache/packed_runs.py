"""Runs, nodes and holdings of a block pool as columns, for snapshots: a fleet whose caches are full has millions."""

from itertools import islice
from typing import NamedTuple

from cluster_sim.serving.kv_cache.block_runs import BlockRun, FreeQueue, Holding, NodeKey, Parent, StreamNode
from cluster_sim.serving.kv_cache.content import Piece, Stream


class PackedRuns(NamedTuple):
    """Columns of nodes, of their runs in the same order, of the free queue, and of what sequences hold."""

    parents: list[Parent]
    streams: list[Stream]
    origins: list[int]
    """Where the stream of each node begins in the sequence."""
    serials: list[int]
    firsts: list[int]
    names: list[int]
    counts: list[int]
    """Runs of each node."""
    starts: list[int]
    ends: list[int]
    queue: list[int]
    """Numbers of the free runs from the front; of one without a node its blocks, below 0."""
    keys: list[int]
    """Of the sequences."""
    pieces: list[tuple[Piece, ...]]
    places: list[tuple[int, int, int]]
    """(blocks with a hash, piece at hand, runs) of each sequence."""
    chains: list[Parent]
    held: list[int]
    """Numbers of the sequences' runs, one sequence after the other."""


def pack_runs(queue: FreeQueue, nodes: dict[NodeKey, StreamNode], holdings: dict[int, Holding]) -> PackedRuns:
    """Return the columns of a pool."""
    in_order = list(nodes.values())
    runs = [run for node in in_order for run in node.runs]
    numbers = dict(zip(map(id, runs), range(len(runs)), strict=True))
    assert all(run.node is not None or run.start == 0 for run in queue)
    return PackedRuns(
        [node.key[0] for node in in_order],
        [node.key[1] for node in in_order],
        [node.key[2] for node in in_order],
        [node.serial for node in in_order],
        [node.first for node in in_order],
        [node.name for node in in_order],
        [len(node.runs) for node in in_order],
        [run.start for run in runs],
        [run.end for run in runs],
        [-run.end if run.node is None else numbers[id(run)] for run in queue],
        list(holdings),
        [holding.pieces for holding in holdings.values()],
        [(holding.hashed_blocks, holding.piece, len(holding.runs)) for holding in holdings.values()],
        [holding.parent for holding in holdings.values()],
        [numbers[id(run)] for holding in holdings.values() for run in holding.runs],
    )


def unpack_runs(packed: PackedRuns) -> tuple[FreeQueue, dict[NodeKey, StreamNode], dict[int, Holding]]:
    """Return the free queue, the nodes and the holdings of a pool."""
    nodes: dict[NodeKey, StreamNode] = {}
    runs: list[BlockRun] = []
    for parent, stream, origin, serial, first, name, count in zip(*packed[:7], strict=True):
        key = (parent, stream, origin)
        node = nodes[key] = StreamNode(key, serial, first)
        node.name = name
        stop = len(runs) + count
        node.runs = [BlockRun(node, packed.starts[run], packed.ends[run]) for run in range(len(runs), stop)]
        runs += node.runs
    queue = FreeQueue()
    for number in packed.queue:
        queue.append(runs[number] if number >= 0 else BlockRun(None, 0, -number))
    holdings: dict[int, Holding] = {}
    held = iter(packed.held)
    for sequence, pieces, (blocks, piece, count), chain in zip(*packed[10:-1], strict=True):
        holding = holdings[sequence] = Holding(pieces, blocks, piece, chain)
        holding.runs = [runs[number] for number in islice(held, count)]
        for run in holding.runs:
            run.holders[sequence] = None
    return queue, nodes, holdings
