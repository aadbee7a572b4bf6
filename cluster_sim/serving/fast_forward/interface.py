"""Interface of schedulers whose decodes can be fast-forwarded."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from cluster_sim.serving.fast_forward.decode_pool import DecodePool
from cluster_sim.serving.sequence import Sequence as Served


class FastForwardScheduler(ABC):
    """A scheduler that can say which of its next steps only decode, and make many of them at once.

    The three uniform methods serve replicas of one stage, the other three the micro-batches that follow each other
    through several; a scheduler that keeps the defaults of these is stepped batch by batch in a pipeline.
    """

    decoding_ranks: Sequence[int] = ()
    """Numbers of the ranks whose pools uniform steps advance, in the order of ``uniform_pools``, if there are ranks."""

    @abstractmethod
    def uniform_steps(self) -> int:
        """Return how many decode-only steps would now be scheduled one after the other with unchanged members, the last
        of which may finish some; 0 if the next batch must be scheduled singly.
        """

    @abstractmethod
    def uniform_pools(self) -> list[DecodePool]:
        """Return the pools that uniform steps advance together: one, or one for each rank that decodes."""

    @abstractmethod
    def commit_uniform(self, steps: int, end_ns: int) -> list[Served]:
        """Make ``steps`` uniform steps, the last ending at ``end_ns``; return what finishes in the last one."""

    def pipelined_pools(self) -> list[DecodePool]:
        """Return the running sequences as pools, by the batch of each one's last token and in the order of these, if
        every batch scheduled now would hold just the members of the pools that are not in flight; else nothing.
        """
        return []

    def spare_blocks(self) -> int:
        """Return how many KV blocks pipelined pools may take before something else happens."""
        return 0

    def commit_pipelined(self, pools: list[DecodePool], turns: list[int], ends_ns: list[int]) -> list[Served]:
        """Make ``turns`` decode steps of each pool, its last one ending at ``ends_ns``; return what finishes."""
        raise AssertionError("this scheduler has no pipelined pools")
