"""Attention windows: tokens that such layers read and compute of a prefill chunk."""

from cluster_sim.hardware.model import Model
from cluster_sim.hardware.sharding import Shard


def read_window(model: Model) -> int:
    """Return the most tokens that a query of a bounded layer reads: a window, or what an indexer chooses; 0: all."""
    return model.indexer.top_k if model.indexer is not None else model.window_tokens


class AttentionWindow:
    """The attention of a model's layers or of one stage's, mean over those with a window and those without.

    Sparse attention counts as windowed: its indexer reads all tokens, the attention proper as many as that chooses.
    """

    __slots__ = ("_is_chunked", "_kv_share", "_pairs_share", "_tokens")

    def __init__(self, model: Model, part: Shard | None = None) -> None:
        """Without a stage's ``part`` all layers count alike."""
        self._tokens = read_window(model)
        self._is_chunked = model.is_chunked_attention
        share = model.windowed_layers / (model.attention_layers or 1)
        self._kv_share = share if part is None else part.windowed_kv_ratio
        self._pairs_share = share if part is None else part.windowed_pairs_ratio

    def pairs(self, chunk_tokens: int, kv_tokens: int) -> float:
        """Return the (query, key) pairs of a causal chunk behind ``kv_tokens`` cached tokens.

        A token of a sliding layer sees the last tokens of the window, itself included; one of a chunked layer sees its
        chunk up to itself.
        """
        full = chunk_tokens * (kv_tokens + 0.5 * (chunk_tokens + 1))
        window = self._tokens
        if not window:
            return full
        if self._is_chunked:
            seen = _chunked_before(kv_tokens + chunk_tokens, window) - _chunked_before(kv_tokens, window)
        else:
            growing = min(max(window - kv_tokens, 0), chunk_tokens)
            seen = growing * (kv_tokens + 0.5 * (growing + 1)) + (chunk_tokens - growing) * window
        return full * (1.0 - self._pairs_share) + seen * self._pairs_share

    def cache_tokens(self, kv_tokens: int) -> float:
        """Return how many of ``kv_tokens`` cached tokens the next chunk reads."""
        window = self._tokens
        if not window:
            return float(kv_tokens)
        seen = kv_tokens % window if self._is_chunked else min(kv_tokens, window - 1)
        return kv_tokens * (1.0 - self._kv_share) + seen * self._kv_share


def _chunked_before(tokens: int, window: int) -> float:
    """Return the pairs of a sequence's first ``tokens`` tokens where each sees its chunk only."""
    whole, rest = divmod(tokens, window)
    return 0.5 * (whole * window * (window + 1) + rest * (rest + 1))
