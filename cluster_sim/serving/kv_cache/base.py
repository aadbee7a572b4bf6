"""Interface of KV caches: memory for keys and values, in blocks of ``block_size`` tokens.

``match_prefix`` finds what the cache holds of a waiting sequence.  An admission takes blocks for that and for the first
tokens to compute, every later step those that its tokens need, and ``free`` gives all of them back; their content may
stay findable until the blocks are reused.  A sequence's ``computed`` tokens say what it holds, so they move after the
cache has been told.

``KvCache`` is what every cache has in common.  ``BlockCache`` is what vLLM's scheduler asks of one, where each sequence
takes its own blocks; SGLang's takes pages for a whole batch at once (``RadixCache``).
"""

from typing import Final, Protocol

from cluster_sim.serving.fast_forward.decode_pool import DecodePool
from cluster_sim.serving.sequence import Sequence


class MatchResult:
    """The longest cached prefix of a sequence, valid until the cache changes."""

    __slots__ = ("found", "tokens")

    def __init__(self, tokens: int, found: object = None) -> None:
        self.tokens = tokens
        """Tokens found: whole blocks, and never all tokens of the sequence."""
        self.found = found
        """What the cache itself needs to take them."""


NO_MATCH: Final = MatchResult(0)
NO_HANDOVER: Final = "no connector moves windows or states"


class AllocationResult:
    """What an admission has got."""

    __slots__ = ("cached_tokens", "load_ns")

    def __init__(self, cached_tokens: int, load_ns: int = 0) -> None:
        self.cached_tokens = cached_tokens
        """Tokens that need not be computed."""
        self.load_ns = load_ns
        """How long the step must wait for those of them that are loaded from host memory."""


class KvCache(Protocol):
    """Memory for the keys and values of one scheduler's sequences."""

    @property
    def block_size(self) -> int:
        """Tokens in a block; SGLang calls it a page."""

    @property
    def total_blocks(self) -> int:
        """Blocks that the cache has."""

    @property
    def free_blocks(self) -> int:
        """Blocks that no sequence holds, those with cached content included."""

    @property
    def used_blocks(self) -> int:
        """Blocks that sequences hold, shared ones once."""

    def match_prefix(self, sequence: Sequence) -> MatchResult:
        """Find the longest cached prefix of a waiting sequence."""

    def blocks_to_extend(self, sequence: Sequence, tokens: int) -> int:
        """Return how many free blocks a sequence takes to hold ``tokens`` tokens in all."""

    def extend_pool(self, pool: DecodePool, steps: int) -> None:
        """Take what the next ``steps`` steps of a decode pool take; the pool has not made them yet."""

    def free(self, sequence: Sequence) -> None:
        """Take everything back that a sequence holds."""

    def validate(self) -> None:
        """Assert in full what must hold between two calls."""


class BlockCache(KvCache, Protocol):
    """A KV cache as vLLM's scheduler uses it."""

    @property
    def has_windows(self) -> bool:
        """Whether sequences give blocks back while they run, so that ``free_skipped`` must be called."""

    @property
    def can_fast_forward(self) -> bool:
        """Whether it is known ahead what a decode pool will take and give back."""

    def blocks_to_allocate(self, match: MatchResult, tokens: int, whole_tokens: int) -> int:
        """Return how many free blocks an admission takes that holds ``tokens`` tokens in all, if what reaches
        ``whole_tokens`` in later steps must be free too.
        """

    def allocate(self, sequence: Sequence, match: MatchResult, tokens: int) -> AllocationResult:
        """Give a sequence that holds nothing its first blocks: what was found, and the rest of ``tokens`` tokens."""

    def reserve(self, sequence: Sequence, match: MatchResult, tokens: int) -> None:
        """Give a sequence that holds nothing what was found, and blocks for the rest of ``tokens`` tokens that another
        replica computes: nobody else finds them before ``fill``.  Counts as holding ``tokens`` tokens.
        """

    def fill(self, sequence: Sequence, tokens: int) -> None:
        """Take in that the blocks of a reservation for ``tokens`` tokens are filled."""

    def cancel_reservation(self, sequence: Sequence, tokens: int) -> None:
        """Take back the blocks of a reservation for ``tokens`` tokens that are not filled."""

    def extend(self, sequence: Sequence, tokens: int) -> None:
        """Give a sequence what it misses to hold ``tokens`` tokens."""

    def free_skipped(self, sequence: Sequence) -> None:
        """Take back what the sequence's next token cannot see; done before it is given anything."""

    def may_grow_prefix(self, sequence: Sequence) -> bool:
        """Return whether what ``match_prefix`` finds may grow while only decodes run."""

    def catch_up(self) -> None:
        """Do now what was put off while decodes moved in bulk."""
