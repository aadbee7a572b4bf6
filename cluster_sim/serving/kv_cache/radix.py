"""KV cache with SGLang's radix tree: what each sequence shares with the tree, and what it owns itself.

Pages are taken for a whole batch at once, as SGLang does: when they run short, the tree evicts as many as the batch
takes in all.  A prefix is protected from that (``lock``) from the moment a waiting sequence is chosen.
"""

from cluster_sim.serving.fast_forward.decode_pool import DecodePool
from cluster_sim.serving.kv_cache.base import MatchResult
from cluster_sim.serving.kv_cache.content import Content, content_of
from cluster_sim.serving.kv_cache.prefix_changes import PrefixChanges
from cluster_sim.serving.kv_cache.radix_host import RadixHost
from cluster_sim.serving.kv_cache.radix_tree import RadixTree
from cluster_sim.serving.sequence import Sequence


class RadixHolding:
    """One sequence's part: ``prefix`` tokens of the tree, locked at ``node``; the rest of its pages are its own."""

    __slots__ = ("content", "is_locked", "node", "prefix")

    def __init__(self, content: Content) -> None:
        self.content = content
        self.node = 0
        self.prefix = 0
        self.is_locked = False


class RadixCache:
    """A ``KvCache`` whose blocks are SGLang's pages; ``host`` is the tier of host memory behind it, if any."""

    def __init__(
        self, total_blocks: int, block_size: int, is_caching: bool = True, host: RadixHost | None = None
    ) -> None:
        self.total_blocks = total_blocks
        self.block_size = block_size
        self.tree = RadixTree(block_size)
        self.host = host
        self.unused_tokens = total_blocks * block_size
        """Tokens of memory that neither sequences nor the tree have."""
        self._is_caching = is_caching

    @property
    def free_tokens(self) -> int:
        """Tokens of memory that no sequence holds: unused, or in the tree and evictable."""
        return self.unused_tokens + self.tree.evictable_tokens

    @property
    def free_blocks(self) -> int:
        """Pages that no sequence holds."""
        return self.free_tokens // self.block_size

    @property
    def used_blocks(self) -> int:
        """Pages that sequences hold, shared ones once."""
        return self.total_blocks - self.free_blocks

    def holding_of(self, sequence: Sequence) -> RadixHolding:
        """Return a sequence's part, made on first use."""
        if not isinstance(sequence.kv, RadixHolding):
            sequence.kv = RadixHolding(content_of(sequence.request, sequence.own_output))
        return sequence.kv

    def round_up(self, tokens: int) -> int:
        """Return ``tokens`` rounded up to whole pages."""
        return -(-tokens // self.block_size) * self.block_size

    # ------------------------------------------------------------------------------------------------------ admission

    def match_prefix(self, sequence: Sequence) -> MatchResult:
        """Find the longest prefix of a waiting sequence in the device's tree."""
        holding = self.holding_of(sequence)
        if self._is_caching:
            holding.node, holding.prefix = self.tree.match(holding.content, sequence.known_tokens - 1)
        return MatchResult(holding.prefix)

    def match_host(self, sequence: Sequence) -> int:
        """Return how many tokens behind the last match can be loaded from the host."""
        if self.host is None:
            return 0
        holding = self.holding_of(sequence)
        return self.host.beyond(holding.content, holding.prefix, sequence.known_tokens - 1)

    def lock(self, sequence: Sequence) -> None:
        """Protect what the last match found."""
        holding = self.holding_of(sequence)
        self.tree.lock(holding.node)
        holding.is_locked = True

    def unlock(self, sequence: Sequence) -> None:
        """Give up what is locked."""
        holding = self.holding_of(sequence)
        if holding.is_locked:
            self.tree.unlock(holding.node)
            holding.is_locked = False

    def load(self, sequence: Sequence, tokens: int) -> None:
        """Load ``tokens`` tokens behind a locked match into the tree, and lock them too."""
        holding = self.holding_of(sequence)
        assert self.host is not None
        self.host.on_hit(holding.content, holding.prefix)
        if tokens:
            self.host.loaded_tokens += tokens
            self.take(tokens)
            self._insert(holding, holding.prefix + tokens)

    def held_prefix(self, sequence: Sequence) -> int:
        """Return how many of a sequence's tokens are the tree's, loaded ones included."""
        return self.holding_of(sequence).prefix

    def track_prefixes(self) -> None:
        """Keep what changes from now on, while nothing is cached."""
        self.tree.changes = PrefixChanges()

    def changed_prefixes(self) -> list[tuple[int, int]]:
        """Return what has changed since the last call, see ``PrefixChanges``."""
        assert self.tree.changes is not None
        return self.tree.changes.take()

    # ---------------------------------------------------------------------------------------------------------- pages

    def take(self, tokens: int) -> None:
        """Take whole pages for ``tokens`` tokens, after evicting as many from the tree if the unused do not suffice."""
        if tokens > self.unused_tokens:
            if self.host is None:
                self.unused_tokens += self.tree.evict(tokens)
            else:
                lost: list[tuple[Content, int]] = []
                self.unused_tokens += self.tree.evict(tokens, lost)
                for content, end in lost:
                    self.host.on_eviction(content, end)
        self.unused_tokens -= tokens
        assert self.unused_tokens >= 0

    def blocks_to_extend(self, sequence: Sequence, tokens: int) -> int:
        """Return how many pages a sequence takes to hold ``tokens`` tokens in all."""
        size = self.block_size
        return -(-tokens // size) + -sequence.computed // size

    def extend_pool(self, pool: DecodePool, steps: int) -> None:
        """Take what the next ``steps`` steps of a decode pool take."""
        self.take(pool.blocks_for(steps) * self.block_size)

    # ------------------------------------------------------------------------------------------------------- giving up

    def insert(self, sequence: Sequence) -> None:
        """Put the whole pages that a living sequence has computed into the tree and hold them there."""
        if not self._is_caching:
            return
        holding = self.holding_of(sequence)
        before = holding.prefix
        self.unused_tokens += self._insert(holding, sequence.computed) - before
        if self.host is not None:
            self.host.on_insert(holding.content, sequence.computed)

    def free(self, sequence: Sequence) -> None:
        """Put what a sequence has computed into the tree, where it can be found or evicted, and let go of it."""
        holding = self.holding_of(sequence)
        whole = sequence.computed - sequence.computed % self.block_size
        if self._is_caching:
            behind = holding.node if holding.is_locked else 0
            self.unused_tokens += self.tree.insert(holding.content, whole, behind).tokens - holding.prefix
            self.unused_tokens += self.round_up(sequence.computed) - whole
            if self.host is not None:
                self.host.on_insert(holding.content, whole)
        else:
            self.unused_tokens += self.round_up(sequence.computed)
        self.unlock(sequence)
        holding.prefix = 0

    def drop(self, sequence: Sequence) -> None:
        """Let go of a sequence without keeping what only it has."""
        holding = self.holding_of(sequence)
        self.unused_tokens += self.round_up(sequence.computed) - holding.prefix
        self.unlock(sequence)
        holding.prefix = 0

    def validate(self) -> None:
        """Assert what must hold between calls."""
        self.tree.validate()
        assert self.unused_tokens >= 0
        assert self.unused_tokens + self.tree.evictable_tokens + self.tree.locked_tokens <= (
            self.total_blocks * self.block_size
        )
        if self.host is not None:
            self.host.validate()

    def _insert(self, holding: RadixHolding, tokens: int) -> int:
        """Put the whole pages of the first ``tokens`` tokens into the tree and lock them in place of what was locked;
        return how many were there.
        """
        tree = self.tree
        found = tree.insert(holding.content, tokens, holding.node if holding.is_locked else 0)
        tree.lock(found.node)
        if holding.is_locked:
            tree.unlock(holding.node)
        holding.node, holding.prefix, holding.is_locked = found.node, tree.whole_pages(tokens), True
        return found.tokens
