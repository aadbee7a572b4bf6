"""Names of KV blocks by content: as in vLLM, a hash of the block's tokens chained to those of all blocks before it."""

from hashlib import blake2b
from typing import Final

from cluster_sim.serving.kv_cache.content import Content

_INDEX_BITS: Final = 40
"""Bits of a key that hold the block's index."""
_DIGEST_BYTES: Final = 12


class BlockKeys:
    """The keys of one sequence's full blocks, in order.

    A block belongs to the piece of the content in which its last token lies, and a piece is named by a digest of all
    pieces up to it.  Equal keys mean equal tokens from the first to the block's last one.
    """

    __slots__ = ("_base", "_block_size", "_digest", "_piece", "_pieces", "keys")

    def __init__(self, content: Content, block_size: int) -> None:
        self.keys: list[int] = []
        self._pieces = content.pieces
        self._block_size = block_size
        self._digest = content.namespace.encode()
        self._piece = -1
        self._base = 0

    def first(self, blocks: int) -> list[int]:
        """Return the keys of at least the first ``blocks`` blocks."""
        keys, size = self.keys, self._block_size
        while len(keys) < blocks:
            end = self._pieces[self._piece][2] // size if self._piece >= 0 else 0
            if len(keys) >= end:
                self._enter_next()
                continue
            reach = min(blocks, end)
            keys.extend(range(self._base + len(keys), self._base + reach))
        return keys

    def _enter_next(self) -> None:
        self._piece += 1
        stream, start, _ = self._pieces[self._piece]
        self._digest = blake2b(self._digest + f"/{stream}@{start}".encode(), digest_size=_DIGEST_BYTES).digest()
        self._base = int.from_bytes(self._digest) << _INDEX_BITS
