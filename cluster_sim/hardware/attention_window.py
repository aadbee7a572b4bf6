"""What layers with an attention window read and compute of a prefill chunk."""

from cluster_sim.hardware.model import Model


def seen_pairs(model: Model, chunk_tokens: int, kv_tokens: int) -> float:
    """Return the (query, key) pairs of a causal chunk behind ``kv_tokens`` cached tokens, mean over the layers.

    A token of a sliding layer sees the last ``window_tokens`` tokens, itself included; one of a chunked layer sees its
    chunk up to itself.
    """
    full = chunk_tokens * (kv_tokens + 0.5 * (chunk_tokens + 1))
    window = model.window_tokens
    if not window:
        return full
    if model.is_chunked_attention:
        seen = _chunked_before(kv_tokens + chunk_tokens, window) - _chunked_before(kv_tokens, window)
    else:
        growing = min(max(window - kv_tokens, 0), chunk_tokens)
        seen = growing * (kv_tokens + 0.5 * (growing + 1)) + (chunk_tokens - growing) * window
    share = model.windowed_layers / model.num_hidden_layers
    return full * (1.0 - share) + seen * share


def _chunked_before(tokens: int, window: int) -> float:
    """The pairs of a sequence's first ``tokens`` tokens where each sees its chunk only."""
    whole, rest = divmod(tokens, window)
    return 0.5 * (whole * window * (window + 1) + rest * (rest + 1))


def seen_cache(model: Model, kv_tokens: int) -> float:
    """Return how many of ``kv_tokens`` cached tokens the next chunk reads, mean over the layers."""
    window = model.window_tokens
    if not window:
        return float(kv_tokens)
    seen = kv_tokens % window if model.is_chunked_attention else min(kv_tokens, window - 1)
    share = model.windowed_layers / model.num_hidden_layers
    return kv_tokens * (1.0 - share) + seen * share
