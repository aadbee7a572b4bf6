"""Stall detector: ends a run whose scheduler starves, or preempts for ever."""

from collections.abc import Callable
from typing import Final

from cluster_sim.errors import UnfinishedError
from cluster_sim.serving.schedulers.base import Scheduler
from cluster_sim.shown_values import by_number, counted
from cluster_sim.units import NS_PER_S

ATTEMPT_LIMIT: Final = 100_000
"""Formations without a batch in a row, while requests are here, after which the run is given up."""


class StallDetector:
    """When replica ``index`` last got a token; the next may take it ``stall_limit_ns`` of simulated time."""

    __slots__ = ("_index", "_kv_blocks", "_stall_limit_ns", "attempts_without_batch", "since_ns")

    def __init__(self, index: int, kv_blocks: int, stall_limit_ns: int) -> None:
        self._index = index
        self._kv_blocks = kv_blocks
        self._stall_limit_ns = stall_limit_ns
        self.since_ns = 0
        """When the last token came, or the replica last had nothing to do."""
        self.attempts_without_batch = 0
        """Formations since then that yielded no batch."""

    def check(self, now_ns: int, scheduler: Scheduler, list_waiting: Callable[[], list[int]]) -> None:
        """Give the run up when nothing has come of many formations, or for long.

        ``list_waiting`` names the requests that no batch holds.  Raises UnfinishedError.
        """
        if scheduler.running_count + scheduler.waiting_count == 0 or scheduler.waits_for_full_batch:
            self.since_ns, self.attempts_without_batch = now_ns, 0
        stalled_ns = now_ns - self.since_ns
        if stalled_ns <= self._stall_limit_ns and self.attempts_without_batch <= ATTEMPT_LIMIT:
            return
        waiting = list_waiting()
        raise UnfinishedError(
            f"replica {self._index} has made no token since {self.since_ns / NS_PER_S:.3f} s of simulated time, "
            f"{stalled_ns / NS_PER_S:.3f} s ago and {counted(self.attempts_without_batch, 'scheduling attempt')} "
            f"without a batch later: {counted(scheduler.running_count, 'request')} "
            f"{by_number(scheduler.running_count, 'holds', 'hold')} a slot, {len(waiting)} "
            f"{by_number(len(waiting), 'waits', 'wait')} for one or for KV blocks ({scheduler.kv_used_blocks} of "
            f"{self._kv_blocks} in use); first of them: {waiting[:10]}"
        )
