"""Names of prefixes that mean the same at every replica and at the router: ranges of blocks instead of single blocks.

A content's pieces give a chain of names, each a 63-bit mix of its stream, of where the stream begins, and of the name
before it.  A block belongs to the piece in which its last token lies, as in ``block_keys``, and is called (name,
index).  So two sequences share a block exactly if they have the same name there, and a prompt of 2,000 blocks is as
many ranges as it has pieces.
"""

from hashlib import blake2b
from typing import Final, NamedTuple

from cluster_sim.serving.kv_cache.content import Content, Stream
from cluster_sim.splitmix64 import GAMMA, splitmix64

_MASK: Final = (1 << 63) - 1
"""Names fit the signed columns of messages."""
_TAIL: Final = 3
"""Kind of stream that no content has: a block that the end of a prompt leaves partly filled."""


class BlockRange(NamedTuple):
    """The consecutive blocks ``start <= index < end`` of one name."""

    name: int
    start: int
    end: int


def root_name(namespace: str) -> int:
    """Return the name of the empty prefix of a namespace (LoRA adapter; "" is the base model)."""
    return int.from_bytes(blake2b(namespace.encode(), digest_size=8).digest()) & _MASK if namespace else 0


def chained_name(before: int, stream: Stream, start: int) -> int:
    """Return the name of the piece that begins at token ``start`` with a stream, behind a prefix called ``before``."""
    return splitmix64((before ^ stream) + start * GAMMA) & _MASK


def prefix_ranges(
    content: Content, tokens: int, block_size: int, *, counts_partial: bool = False, most_blocks: int = 1 << 40
) -> list[BlockRange]:
    """Return the ranges of the first ``tokens`` tokens in order: whole blocks, at most ``most_blocks`` of them.

    With ``counts_partial`` the tokens of a last block that is not full count as one block more, which only a prompt of
    the same tokens and the same length shares.
    """
    ranges = []
    name = root_name(content.namespace)
    blocks = min(tokens // block_size, most_blocks)
    position = 0
    for stream, start, end in content.pieces:
        if start >= tokens or position >= most_blocks:
            break
        name = chained_name(name, stream, start)
        last = min(end // block_size, blocks)
        if last > position:
            ranges.append(BlockRange(name, position, last))
            position = last
    if counts_partial and tokens % block_size and position < most_blocks:
        ranges.append(BlockRange(chained_name(name, _TAIL, tokens), position, position + 1))
    return ranges
