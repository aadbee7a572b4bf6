"""Cumulative figures of one replica."""

from typing import NamedTuple


class ReplicaCounters(NamedTuple):
    """Cumulative figures of one replica, plain numbers and lists: what live metrics and the summary read."""

    iterations: int
    prompt_iterations: int
    prompt_tokens: int
    generated_tokens: int
    preemptions: int
    prefix_queries_tokens: int
    prefix_hits_tokens: int
    loaded_queries_tokens: int
    """Prompt tokens that were looked for behind the device: in host memory, or in a shared store."""
    loaded_hits_tokens: int
    """Those that were found there; ``prefix_hits_tokens`` has them, too."""
    wasted_steps: int
    entered: int
    left: int
    in_system_area_ns: int
    cancellation_lag_ns: int
    busy_ns: list[int]
    """Work of each stage up to the end of the run."""
    overrun_ns: list[int]
    """Work of each stage on steps in flight at the end of the run, beyond it."""
    overrun_iterations: int
    """Steps in flight at the end of the run, which no other figure counts."""
    overrun_tokens: int
    """Prompt and generated tokens of those."""
    crashes: int
    down_ns: int
    """Time between crashes and restarts."""
    joined_ns: int
    """When the replica began to exist; -1 if it has not yet."""
    left_ns: int
    """When it ceased to; -1 if it has not yet."""
    iteration_tokens_counts: list[int]
    iteration_tokens_sum: int
    itl_counts: list[int]
    itl_sum_ns: int
    drafts: int
    draft_tokens: int
    accepted_tokens: int
    accepted_by_position: list[int]
    """Figures of ``recording.draft_counts``."""
    first_tokens: list[int]
    """Figures of ``recording.first_tokens``, by its rows."""
    held_blocks: int = 0
    """KV blocks in use at the end of the run if no request is there, for which there is no reason."""

    def presence_ns(self, from_ns: int, until_ns: int) -> int:
        """Return how long the replica exists between two times; one that has crashed does."""
        if self.joined_ns < 0:
            return 0
        left_ns = until_ns if self.left_ns < 0 else min(self.left_ns, until_ns)
        return max(0, left_ns - max(self.joined_ns, from_ns))
