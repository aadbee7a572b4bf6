"""Columns of a replica's time series, as ``ReplicaLog.take_series`` returns them."""

from typing import Final

from cluster_sim.recording import first_tokens, step_bins


def ticks_before(end_ns: int, interval_ns: int) -> int:
    """Return how many ticks a series has before the end of its run; none without an interval."""
    return max(end_ns - 1, 0) // interval_ns if interval_ns else 0


RANKS_LIMIT: Final = 1 << 10
"""More data-parallel ranks than a replica has."""


def rank_key(replica: int, rank: int) -> int:
    """Return what a rank's series goes by on its way, beside those of replicas, which go by their numbers."""
    return -1 - (replica * RANKS_LIMIT + rank)


STATE_COLUMNS: Final = ("time_ns", "running", "waiting", "kv_used_blocks")
"""Columns of ``take_series`` that hold the state at the tick, int64[rows]."""
EVENT_COLUMNS: Final = (
    "preemptions",
    "prefix_queries_tokens",
    "prefix_hits_tokens",
    "loaded_queries_tokens",
    "loaded_hits_tokens",
    "drafts",
    "draft_tokens",
    "accepted_tokens",
)
"""Columns of ``take_series`` that count what schedules did after the tick before, int64[rows]."""
FIRST_TOKEN_COLUMNS: Final[dict[str, int | slice]] = {
    "prefills": first_tokens.PROMPTS,
    "prefilled_tokens": first_tokens.PROMPT_TOKENS,
    "prefilled_cached_tokens": first_tokens.CACHED_TOKENS,
    "prefilled_external_tokens": first_tokens.EXTERNAL_TOKENS,
    "ttft_sum_ns": first_tokens.TTFT_SUM_NS,
    "ttft_counts": first_tokens.TTFT_COUNTS,
}
"""Columns of ``take_series`` about the first tokens that came after the tick before; see ``FirstTokenLog``."""
STEP_COLUMNS: Final[dict[str, int | slice]] = {
    "iterations": step_bins.ITERATIONS,
    "prompt_tokens": step_bins.PROMPT_TOKENS,
    "generated_tokens": step_bins.GENERATED_TOKENS,
    "itl_sum_ns": step_bins.GAP_SUM_NS,
    "itl_counts": step_bins.GAP_COUNTS,
    "iteration_tokens_counts": step_bins.ITERATION_COUNTS,
}
"""Columns of ``take_series`` that sum over the iterations that ended after the tick before and not after this one; the
histograms are int64[rows, buckets]."""
