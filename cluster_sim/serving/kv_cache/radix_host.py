"""SGLang's hierarchical cache (HiCache): a tier of host memory behind the radix cache.

Design: the host has a tree of its own, of the same kind as the device's; nothing in it is locked, and its least
recently used leaves go when room is short.  A copy is always of a whole prefix.  The write policy says when tokens are
copied out:

``write_through``            as soon as they are put into the device's tree;
``write_through_selective``  when a request finds them there, so only what is used again;
``write_back``               when the device evicts them, and the step that needs the room waits for the copy.

A waiting sequence whose prefix goes on in the host's tree gets that part loaded into the device's, where others find it
too.  Layers are loaded while earlier ones compute, so the step lasts as long as the longer of the two.
"""

from typing import Literal

from cluster_sim.serving.kv_cache.content import Content
from cluster_sim.serving.kv_cache.radix_tree import RadixTree
from cluster_sim.units import NS_PER_US

WritePolicy = Literal["write_through", "write_through_selective", "write_back"]


class RadixHost:
    """``capacity`` tokens of host memory, and what moves between it and the device."""

    def __init__(self, capacity: int, page_size: int, policy: WritePolicy, least_tokens: int, page_us: float) -> None:
        """Prefixes are loaded if at least ``least_tokens`` are gained; a page takes ``page_us`` either way."""
        self.capacity = capacity
        self.tree = RadixTree(page_size)
        self.policy = policy
        self._least_tokens = least_tokens
        self._token_ns = page_us * NS_PER_US / page_size
        self.loaded_tokens = 0
        """Tokens loaded into the device so far."""
        self.stored_tokens = 0
        """Tokens copied out so far."""
        self._moved = (0, 0)
        """Both of them when the last batch was scheduled."""

    def beyond(self, content: Content, on_device: int, tokens: int) -> int:
        """Return how many of the first ``tokens`` tokens only the host has behind ``on_device``, 0 if too few."""
        gained = self.tree.match(content, tokens).tokens - on_device
        return gained if gained >= max(1, self._least_tokens) else 0

    def on_insert(self, content: Content, tokens: int) -> None:
        """Store the first ``tokens`` tokens, now in the device's tree, if the policy writes at once."""
        if self.policy == "write_through":
            self.store(content, tokens)

    def on_hit(self, content: Content, tokens: int) -> None:
        """Store the first ``tokens`` tokens, which a request has found, if the policy writes what is used again."""
        if self.policy == "write_through_selective":
            self.store(content, tokens)

    def on_eviction(self, content: Content, tokens: int) -> None:
        """Store the first ``tokens`` tokens, whose last the device gives up, if the policy writes back."""
        if self.policy == "write_back":
            self.store(content, tokens)

    def store(self, content: Content, tokens: int) -> None:
        """Make sure that the host has the first ``tokens`` tokens, cut to whole pages and to what it holds."""
        tree = self.tree
        found = tree.match(content, min(tokens, self.capacity))
        wanted = tree.whole_pages(min(tokens, self.capacity)) - found.tokens
        if wanted <= 0:
            return
        tree.lock(found.node)
        short = tree.evictable_tokens + tree.locked_tokens + wanted - self.capacity
        if short > 0:
            tree.evict(short)
        tree.insert(content, found.tokens + wanted)
        tree.unlock(found.node)
        self.stored_tokens += wanted

    def take_waits_ns(self) -> tuple[int, int]:
        """Return how long loading and evicting since the last call take, ns; only evictions under ``write_back``."""
        loaded, stored = self.loaded_tokens - self._moved[0], self.stored_tokens - self._moved[1]
        self._moved = (self.loaded_tokens, self.stored_tokens)
        return round(loaded * self._token_ns), round(stored * self._token_ns) if self.policy == "write_back" else 0

    def validate(self) -> None:
        """Assert what must hold between calls: nothing is locked, and all fits."""
        self.tree.validate()
        assert self.tree.locked_tokens == 0
        assert self.tree.evictable_tokens <= self.capacity
