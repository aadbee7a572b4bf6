"""Sizes of vLLM's captured CUDA graphs, to which small batches are padded."""

from typing import Final

LARGEST_GRAPH_TOKENS: Final = 512
"""Most tokens of a captured graph."""


def graph_tokens(tokens: int) -> int:
    """Return the tokens that a CUDA graph computes for ``tokens``: the next captured size.

    Captured are 1, 2, 4, every 8 up to 256 and every 16 up to 512; larger batches run without padding.
    """
    if tokens > LARGEST_GRAPH_TOKENS or tokens <= 2:
        return tokens
    if tokens <= 4:
        return 4
    step = 8 if tokens <= LARGEST_GRAPH_TOKENS // 2 else 16
    return -(-tokens // step) * step
