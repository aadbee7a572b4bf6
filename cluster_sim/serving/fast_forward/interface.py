"""Interface of schedulers whose decodes can be fast-forwarded."""

from typing import Protocol

from cluster_sim.serving.fast_forward.decode_pool import DecodePool
from cluster_sim.serving.sequence import Sequence


class FastForwardScheduler(Protocol):
    """A scheduler that can say which of its next steps only decode, and make many of them at once."""

    def uniform_steps(self) -> int:
        """Return how many decode-only steps would now be scheduled one after the other with unchanged members, the last
        of which may finish some; 0 if the next batch must be scheduled singly.
        """

    @property
    def decode_pool(self) -> DecodePool | None:
        """The pool that uniform steps advance; None if there are several, one for each rank."""

    def data_parallel_pools(self) -> list[DecodePool]:
        """Return the pools that uniform steps advance together if there is no single one."""

    def commit_uniform(self, steps: int, end_ns: int) -> list[Sequence]:
        """Make ``steps`` uniform steps, the last ending at ``end_ns``; return what finishes in the last one."""

    def pipelined_pools(self) -> list[DecodePool]:
        """Return the running sequences as pools, by the batch of each one's last token and in the order of these, if
        every batch scheduled now would hold just the members of the pools that are not in flight; else nothing.
        """

    def spare_blocks(self) -> int:
        """Return how many KV blocks pipelined pools may take before something else happens."""

    def commit_pipelined(self, pools: list[DecodePool], turns: list[int], ends_ns: list[int]) -> list[Sequence]:
        """Make ``turns`` decode steps of each pool, its last one ending at ``ends_ns``; return what finishes."""
