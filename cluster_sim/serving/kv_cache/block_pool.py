"""Block pool of vLLM v1's prefix cache, kept in runs of blocks instead of single blocks.

The rules are vLLM's: only full blocks have a hash; a lookup walks from the first block to the first miss and leaves at
least one token to compute; a hit takes free blocks out of the queue; blocks go back to the queue's end in reverse
order, with their hashes, so that a sequence's tail is reused before its head; a hash is lost when its block is popped
for new content; equal blocks computed twice both stay, and the one inserted first is found first.

Blocks that were computed together, are held by the same sequences and lie together in the queue behave as one, so they
are one ``BlockRun``: a prompt of 752 blocks costs as many steps as it has segments, not blocks.  Evicting part of a run
shortens it from its end; sharing part of one splits it.  What makes this exact: whoever holds a block holds some copy
of every block before it and frees that later, so the cached indexes of a node are always a prefix of it, and a node
without runs has no cached descendants.
"""

from typing import ClassVar

from cluster_sim.serving.kv_cache.block_runs import BlockRun, FreeQueue, Holding, NodeKey, Parent, StreamNode
from cluster_sim.serving.kv_cache.content import Content
from cluster_sim.serving.kv_cache.packed_runs import PackedRuns, pack_runs, unpack_runs
from cluster_sim.serving.kv_cache.prefix_changes import NONE_LEFT, UNNAMED, PrefixChanges, is_shared
from cluster_sim.serving.kv_cache.prefix_ranges import chained_name, root_name


class BlockMatch:
    """The longest cached prefix of one content, valid until the cache changes."""

    __slots__ = ("blocks", "free_blocks", "parent", "parts", "piece")

    def __init__(self, parent: Parent) -> None:
        self.blocks = 0
        """Blocks found."""
        self.free_blocks = 0
        """How many of them lie in the free queue, so that taking them lowers what is free."""
        self.parts: list[tuple[BlockRun, int, int]] = []
        self.piece = 0
        self.parent = parent


class BlockPool:
    """A pool of ``total_blocks`` blocks of ``block_size`` tokens.

    Sequences are named by an integer key.  A sequence's blocks are ``admit``-ted (the hits) and ``take``-n (new ones);
    ``commit`` gives hashes to those that are full; ``release`` returns all.  New blocks are counted, not named: which
    of them a sequence got makes no difference until they have a hash.
    """

    SNAPSHOT_WITHOUT: ClassVar = ("_queue", "_nodes", "_holdings", "_packed")
    SNAPSHOT_WITH: ClassVar = ("packed",)

    def __init__(self, total_blocks: int, block_size: int) -> None:
        self.total_blocks = total_blocks
        self.block_size = block_size
        self._queue = FreeQueue()
        self._queue.append(BlockRun(None, 0, total_blocks))
        self._nodes: dict[NodeKey, StreamNode] = {}
        self._holdings: dict[int, Holding] = {}
        self._next_serial = 0
        self.changes: PrefixChanges | None = None
        """What has changed, where somebody is told; to be set while the pool is empty."""
        self._names: dict[int, int] = {}
        """Names of nodes by serial, where somebody is told."""
        self._packed: PackedRuns | None = None

    @property
    def packed(self) -> PackedRuns:
        """The runs as columns, for snapshots; set by whoever restores one."""
        return pack_runs(self._queue, self._nodes, self._holdings)

    @packed.setter
    def packed(self, packed: PackedRuns) -> None:
        self._packed = packed

    def after_restore(self) -> None:
        """Make the runs again."""
        assert self._packed is not None
        self._queue, self._nodes, self._holdings = unpack_runs(self._packed)
        self._packed = None

    @property
    def free_blocks(self) -> int:
        """Blocks that can be taken, cached content included."""
        return self._queue.blocks

    def match(self, content: Content, tokens: int) -> BlockMatch:
        """Return the longest cached prefix of the first ``tokens`` tokens that leaves one of them to compute."""
        size = self.block_size
        limit = (tokens - 1) // size
        nodes = self._nodes
        parent: Parent = content.namespace
        match = BlockMatch(parent)
        position = 0
        for index, (stream, start, end) in enumerate(content.pieces):
            if position >= limit:
                break
            key = (parent, stream, start)
            last = end // size
            if last <= start // size:
                parent = key
                continue
            node = nodes.get(key)
            if node is None:
                break
            match.piece, match.parent = index, parent
            last = min(last, limit)
            position = self._match_node(node, position, last, match)
            if position < last:
                break
            parent = node.serial
        match.blocks = position
        return match

    @staticmethod
    def _match_node(node: StreamNode, position: int, last: int, match: BlockMatch) -> int:
        """Add the cached blocks ``position <= i < last`` of a node to a match and return where they end."""
        runs = node.runs
        while position < last:
            reach = last
            for run in runs:
                if run.start <= position < run.end:
                    break
                if position < run.start < reach:
                    reach = run.start  # from there on this copy, inserted earlier, is the one found
            else:
                return position
            reach = min(reach, run.end)
            match.parts.append((run, position, reach))
            if not run.holders:
                match.free_blocks += reach - position
            position = reach
        return position

    def admit(self, key: int, content: Content, match: BlockMatch) -> None:
        """Make sequence ``key`` hold the blocks of a match made since the cache last changed."""
        holding = Holding(content.pieces, match.blocks, match.piece, match.parent)
        held = holding.runs
        for found, start, end in match.parts:
            if end < found.end:
                self._split(found, end)
            run = self._split(found, start) if start > found.start else found
            if not run.holders:
                self._queue.remove(run)
            run.holders[key] = None
            held.append(run)
        self._holdings[key] = holding

    def _split(self, run: BlockRun, start: int) -> BlockRun:
        """Cut the blocks from index ``start`` off a run and return them as a run with the same holders and place."""
        node = run.node
        assert node is not None
        rest = BlockRun(node, start, run.end)
        run_is_free = not run.holders
        run.end = start
        node.runs.insert(node.runs.index(run) + 1, rest)
        if run_is_free:
            self._queue.blocks -= rest.end - start
            self._queue.insert_before(rest, run)
        for key in run.holders:
            rest.holders[key] = None
            held = self._holdings[key].runs
            held.insert(held.index(run) + 1, rest)
        return rest

    def take(self, blocks: int) -> None:
        """Pop ``blocks`` free blocks, at most ``free_blocks``, for new content; their hashes are lost."""
        if blocks <= 0:
            return
        queue, nodes, changes = self._queue, self._nodes, self.changes
        assert blocks <= queue.blocks
        left = blocks
        first = run = queue.front
        while run is not None:  # Always true while blocks are left; the loop ends inside.
            length = run.end - run.start
            node = run.node
            if length > left:
                run.end -= left
                if changes is not None and node is not None:
                    self._note(changes, node)
                if run is first:  # Mostly: one run lasts for many steps.
                    queue.blocks -= blocks
                    return
                break
            following = run.following
            run.following = None
            if node is not None:
                runs = node.runs
                runs.remove(run)
                if not runs:
                    del nodes[node.key]
                if changes is not None:
                    self._note(changes, node)
            run = following
            left -= length
            if not left:
                break
        queue.advance(run, blocks)

    def commit(self, key: int, tokens: int) -> None:
        """Give hashes to the full blocks of the first ``tokens`` tokens of a sequence, which holds those blocks."""
        holding = self._holdings[key]
        size = self.block_size
        target = tokens // size
        position = holding.hashed_blocks
        if position >= target:
            return
        parent = holding.parent
        index = holding.piece
        nodes = self._nodes
        held = holding.runs
        pieces = holding.pieces
        while True:
            stream, start, end = pieces[index]
            node_key = (parent, stream, start)
            first, last = start // size, end // size
            if last > position:
                node = nodes.get(node_key)
                if node is None:
                    node = nodes[node_key] = StreamNode(node_key, self._next_serial, first)
                    self._next_serial += 1
                    if self.changes is not None:
                        node.name = self._names[node.serial] = self._name_of(node_key)
                reach = last if last < target else target  # noqa: FURB136 - this runs for every segment
                runs = node.runs
                if runs:
                    self._insert(key, held, node, position, reach)
                else:
                    run = BlockRun(node, position, reach)
                    run.holders[key] = None
                    runs.append(run)
                    held.append(run)
                if self.changes is not None:
                    self._note(self.changes, node)
                position = reach
                if position >= target:
                    break
                parent = node.serial
            else:
                parent = nodes[node_key].serial if last > first else node_key
            index += 1
        holding.hashed_blocks = position
        holding.parent = parent
        holding.piece = index

    def _insert(self, key: int, held: list[BlockRun], node: StreamNode, start: int, end: int) -> None:
        """Hash the blocks ``start <= i < end`` of a sequence in ``node``, behind the copies that are there."""
        runs = node.runs
        if len(runs) == 1 and held and held[-1] is runs[0] and len(runs[0].holders) == 1 and runs[0].end == start:
            runs[0].end = end
            return
        run = BlockRun(node, start, end)
        run.holders[key] = None
        runs.append(run)
        held.append(run)

    def _name_of(self, parent: Parent) -> int:
        """Return the name that a prefix has outside this cache."""
        if isinstance(parent, str):
            return root_name(parent)
        if isinstance(parent, int):
            return self._names[parent]
        before = self._name_of(parent[0])
        return chained_name(before, parent[1], parent[2]) if before >= 0 and is_shared(parent[1]) else UNNAMED

    def _note(self, changes: PrefixChanges, node: StreamNode) -> None:
        """Tell where the blocks of a node end now."""
        if node.name >= 0:
            changes.set(node.name, max((run.end for run in node.runs), default=NONE_LEFT))
        if not node.runs:
            del self._names[node.serial]

    def release(self, key: int, held_blocks: int) -> None:
        """Free all ``held_blocks`` blocks of a sequence, the last first; those with a hash can still be found."""
        holding = self._holdings.pop(key)
        queue = self._queue
        unhashed = held_blocks - holding.hashed_blocks
        if unhashed > 0:
            queue.append(BlockRun(None, 0, unhashed))
        for run in reversed(holding.runs):
            del run.holders[key]
            if not run.holders:
                queue.append(run)

    def validate(self) -> None:
        """Assert what must hold between calls: every block is free or held once, and cached indexes are prefixes."""
        free = sum(run.end - run.start for run in self._queue)
        assert free == self._queue.blocks <= self.total_blocks
        assert all(not run.holders for run in self._queue)
        for node in self._nodes.values():
            assert node.runs
            assert all(run.start < run.end for run in node.runs)
            covered = node.first
            for run in sorted(node.runs, key=lambda run: run.start):
                assert run.start <= covered, "a hole in a node's cached blocks"
                covered = max(covered, run.end)
            assert all(run in self._holdings[key].runs for run in node.runs for key in run.holders)
