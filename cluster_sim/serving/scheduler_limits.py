"""The limits of one replica's scheduler, every default resolved."""

from dataclasses import dataclass

from cluster_sim.hardware.kv_groups import KvGroups
from cluster_sim.serving.kv_cache.store_link import StoreLink


@dataclass(frozen=True, slots=True)
class SchedulerLimits:
    """Memory, slots and modes that bound what a scheduler may put into a batch."""

    kv_blocks: int
    block_size: int
    max_num_seqs: int
    max_num_batched_tokens: int
    max_model_len: int
    pipeline_parallel: int
    batches_in_flight: int
    """How many scheduled batches may be unfinished: the pipeline's depth, or 2 with asynchronous scheduling."""
    is_async: bool
    """Whether a sequence may be in two unfinished batches (asynchronous scheduling, one stage)."""
    can_fast_forward: bool
    """Whether decodes are fast-forwarded on one stage; False forces single steps (``run.macro_steps: false``)."""
    can_fast_forward_stages: bool = False
    """The same for micro-batches that follow each other through several stages."""
    tokens_per_step: int = 1
    """Most tokens that one sequence can gain in a step: more than 1 with speculative decoding."""
    data_parallel: int = 1
    """Ranks that step together, each with ``kv_blocks`` and ``max_num_seqs`` of its own."""
    seed: int = 0
    """Of the study: keys the draws of drafts that are accepted."""
    store: StoreLink | None = None
    """The link to a KV store that replicas share; None without one."""
    kv_groups: KvGroups | None = None
    """Groups that share the KV blocks; None if every layer keeps the whole context."""

    @property
    def context_blocks(self) -> int:
        """Blocks that a cache without groups would need to hold the same requests, each alone."""
        return self.kv_blocks if self.kv_groups is None else -(-self.max_model_len // self.block_size)
