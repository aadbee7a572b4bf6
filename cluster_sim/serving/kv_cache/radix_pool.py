"""A pool of KV tokens under a radix cache: what each sequence shares with the tree and what it owns itself."""

from cluster_sim.serving.kv_cache.content import Content, content_of
from cluster_sim.serving.kv_cache.radix import RadixCache
from cluster_sim.serving.kv_cache.radix_host import RadixHost
from cluster_sim.serving.sequence import Sequence


class Share:
    """One sequence's part: ``prefix`` tokens of the tree, locked at ``node``; the rest of its pages are its own."""

    __slots__ = ("content", "is_locked", "node", "prefix")

    def __init__(self, content: Content) -> None:
        self.content = content
        self.node = 0
        self.prefix = 0
        self.is_locked = False


class RadixPool:
    """``capacity`` tokens in pages; ``free_tokens`` are in nobody's hands.  ``host`` is the tier behind, if any."""

    def __init__(self, capacity: int, page_size: int, is_caching: bool = True, host: RadixHost | None = None) -> None:
        self.capacity = capacity
        self.page_size = page_size
        self.free_tokens = capacity
        self.tree = RadixCache(page_size)
        self.host = host
        self._is_caching = is_caching

    @property
    def reachable(self) -> int:
        """Tokens that are free or would be after evicting everything that nobody uses."""
        return self.free_tokens + self.tree.evictable_tokens

    @property
    def held_tokens(self) -> int:
        """Tokens that sequences use."""
        return self.capacity - self.reachable

    def ceil(self, tokens: int) -> int:
        """Return ``tokens`` rounded up to whole pages."""
        return -(-tokens // self.page_size) * self.page_size

    def share_of(self, sequence: Sequence) -> Share:
        """Return a sequence's part, made on first use."""
        if not isinstance(sequence.kv, Share):
            sequence.kv = Share(content_of(sequence.request))
        return sequence.kv

    def prefix_of(self, sequence: Sequence) -> int:
        """Return how many tokens the last match found."""
        return self.share_of(sequence).prefix

    def peek(self, sequence: Sequence) -> int:
        """Return how many tokens a match would find, without touching the tree."""
        return self.tree.peek(self.share_of(sequence).content, sequence.known_tokens - 1) if self._is_caching else 0

    def match(self, sequence: Sequence) -> int:
        """Look up a waiting sequence; at least one of its tokens is left to compute.  Return the tokens found."""
        share = self.share_of(sequence)
        if self._is_caching:
            share.node, share.prefix = self.tree.match(share.content, sequence.known_tokens - 1)
        return share.prefix

    def lock(self, sequence: Sequence) -> None:
        """Protect what the last match found."""
        share = self.share_of(sequence)
        self.tree.lock(share.node)
        share.is_locked = True

    def unlock(self, sequence: Sequence) -> None:
        """Give up what is locked."""
        share = self.share_of(sequence)
        if share.is_locked:
            self.tree.unlock(share.node)
            share.is_locked = False

    def missing(self, sequence: Sequence, tokens: int, computed: int | None = None) -> int:
        """Return how many tokens in new pages ``tokens`` more take, after ``computed`` (the sequence's own count)."""
        done = sequence.computed if computed is None else computed
        return self.ceil(done + tokens) - self.ceil(done)

    def allocate(self, tokens: int) -> None:
        """Take tokens out of the free ones, after evicting as many from the tree where they do not suffice."""
        if tokens > self.free_tokens:
            if self.host is None:
                self.free_tokens += self.tree.evict(tokens)
            else:
                lost: list[tuple[Content, int]] = []
                self.free_tokens += self.tree.evict(tokens, lost)
                for content, end in lost:
                    self.host.note_eviction(content, end)
        self.free_tokens -= tokens
        assert self.free_tokens >= 0

    def on_host(self, sequence: Sequence) -> int:
        """Return how many tokens behind the last match can be loaded from the host."""
        if self.host is None:
            return 0
        share = self.share_of(sequence)
        return self.host.beyond(share.content, share.prefix, sequence.known_tokens - 1)

    def load(self, sequence: Sequence, tokens: int) -> None:
        """Load ``tokens`` tokens behind a locked match into the tree, and lock them too."""
        share = self.share_of(sequence)
        assert self.host is not None
        self.host.note_hit(share.content, share.prefix)
        if tokens:
            self.host.loaded_tokens += tokens
            self.allocate(tokens)
            self.tree.insert(share.content, share.prefix + tokens)
            self._hold(sequence, share, share.prefix + tokens)

    def _hold(self, sequence: Sequence, share: Share, tokens: int) -> None:
        """Lock the first ``tokens`` tokens, which are in the tree, in place of what was locked."""
        found = self.tree.match(share.content, tokens)
        self.tree.lock(found.node)
        self.unlock(sequence)
        share.node, share.prefix, share.is_locked = found.node, found.tokens, True

    def keep(self, sequence: Sequence) -> None:
        """Put the whole pages that a living sequence has computed into the tree and hold them there."""
        if not self._is_caching:
            return
        share = self.share_of(sequence)
        self.free_tokens += self.tree.insert(share.content, sequence.computed) - share.prefix
        self._hold(sequence, share, sequence.computed)
        if self.host is not None:
            self.host.note_insert(share.content, sequence.computed)

    def finish(self, sequence: Sequence) -> None:
        """Put what a sequence has computed into the tree and let go of it."""
        share = self.share_of(sequence)
        whole = sequence.computed - sequence.computed % self.page_size
        if self._is_caching:
            self.free_tokens += self.tree.insert(share.content, whole) - share.prefix
            self.free_tokens += self.ceil(sequence.computed) - whole
            if self.host is not None:
                self.host.note_insert(share.content, whole)
        else:
            self.free_tokens += self.ceil(sequence.computed)
        self.unlock(sequence)
        share.prefix = 0

    def drop(self, sequence: Sequence) -> None:
        """Let go of a sequence without keeping what only it has."""
        share = self.share_of(sequence)
        self.free_tokens += self.ceil(sequence.computed) - share.prefix
        self.unlock(sequence)
        share.prefix = 0
