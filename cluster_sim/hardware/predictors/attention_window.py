"""Attention windows: tokens that such layers read and compute of a prefill chunk."""

from cluster_sim.hardware.model import Model


class AttentionWindow:
    """The attention of a model's layers, mean over those with a window and those without."""

    __slots__ = ("_is_chunked", "_share", "_tokens")

    def __init__(self, model: Model) -> None:
        self._tokens = model.window_tokens
        self._is_chunked = model.is_chunked_attention
        self._share = model.windowed_layers / model.num_hidden_layers

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
        return full * (1.0 - self._share) + seen * self._share

    def cache_tokens(self, kv_tokens: int) -> float:
        """Return how many of ``kv_tokens`` cached tokens the next chunk reads."""
        window = self._tokens
        if not window:
            return float(kv_tokens)
        seen = kv_tokens % window if self._is_chunked else min(kv_tokens, window - 1)
        return kv_tokens * (1.0 - self._share) + seen * self._share


def _chunked_before(tokens: int, window: int) -> float:
    """Return the pairs of a sequence's first ``tokens`` tokens where each sees its chunk only."""
    whole, rest = divmod(tokens, window)
    return 0.5 * (whole * window * (window + 1) + rest * (rest + 1))
