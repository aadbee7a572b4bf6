"""The one interface of every scheduler, and their registry.

A scheduler decides what the next engine step computes.  It owns the waiting and running sequences and the KV cache; it
knows simulated time only as an argument and never the duration of a step: the replica asks it to form a batch, finds
out from the predictor and the pipeline when the batch ends, and tells it so.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Final

from cluster_sim.factory_registry import Registry
from cluster_sim.hardware.predictors.predictor import Predictor
from cluster_sim.serving.batch import Batch
from cluster_sim.serving.engine_options import Engine
from cluster_sim.serving.fast_forward.decode_pool import DecodePool
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.sequence import Sequence


class Scheduler(ABC):
    """Forms batches for one replica."""

    unbatched_preemptions = 0
    """Preemptions by the last ``schedule`` that returned None, which no batch reports."""
    retry_now = False
    """Whether a ``schedule`` that returned None freed something, so that it must be called again at the same time."""
    is_prefill_step = True
    """Whether the next batch is one of those in which all data-parallel ranks compute prompts; in others, ranks that
    can decode defer them."""
    waits_for_full_batch = False
    """Whether requests wait for others to come, on purpose, so that time without a token is no stall."""
    has_prefix_cache = False
    """Whether prompts are looked up in a cache, so that hits are counted."""

    @property
    @abstractmethod
    def running_count(self) -> int:
        """Sequences that hold a slot."""

    @property
    @abstractmethod
    def waiting_count(self) -> int:
        """Sequences that wait for one."""

    @property
    @abstractmethod
    def kv_used_blocks(self) -> int:
        """Blocks in use, for telemetry and series."""

    @abstractmethod
    def add(self, sequence: Sequence) -> None:
        """Take in a sequence that has become ready; it can run on an empty replica."""

    def has_work(self) -> bool:
        """Whether ``schedule`` may yield a batch; False lets the replica sleep until something arrives."""
        return True

    @abstractmethod
    def schedule(self, now_ns: int) -> Batch | None:
        """Decide the next batch at ``now_ns`` and move all counters as if it had run; None when there is none.

        Called again at every arrival and batch end while a slot in flight is free, and at once after a None that
        preempted something (``retry_now``).
        """

    @abstractmethod
    def on_scheduled(self, batch: Batch) -> None:
        """Note a formed batch's end time (``batch.end_ns``), right after ``schedule`` returned it."""

    @abstractmethod
    def complete(self, batch: Batch) -> None:
        """Handle the end of a batch: finished sequences give up slot and memory."""

    @abstractmethod
    def remove_waiting(self, request_id: int) -> bool:
        """Drop a sequence that waits for a slot; return whether there was one.  Called at any time."""

    @abstractmethod
    def cancel(self, request_id: int) -> bool:
        """Drop a sequence, waiting or running; return whether it has left.  Called between two batches.

        One whose last token is formed stays, and so does one that ``is_in_flight``.
        """

    def is_in_flight(self, request_id: int) -> bool:
        """Whether ``cancel`` cannot drop a sequence before a batch in flight that holds it has ended."""
        return False

    @abstractmethod
    def fewest_batches(self) -> int:
        """Return a lower bound of the batches that must still be formed before any sequence here yields its last
        token; 0 when there is none left to form.
        """

    def uniform_steps(self) -> int:
        """Return how many decode-only steps would now be formed one after the other with unchanged members, the last
        of which may finish some; 0 when the next batch must be formed singly.
        """
        return 0

    @property
    def decode_pool(self) -> DecodePool | None:
        """The pool that uniform steps advance."""
        return None

    def data_parallel_pools(self) -> list[DecodePool]:
        """Return the pools that uniform steps advance together if there is no single one."""
        return []

    def commit_uniform(self, steps: int, end_ns: int) -> list[Sequence]:
        """Make ``steps`` uniform steps, the last ending at ``end_ns``; return what finishes in the last one."""
        raise AssertionError("this scheduler has no uniform steps")

    def pipelined_pools(self) -> list[DecodePool]:
        """Return the running sequences as pools, by the batch of each one's last token and in the order of these, where
        every batch formed now would hold just the members of the pools that are not in flight; else nothing.

        A pipeline of several stages fast-forwards them.
        """
        return []

    def spare_blocks(self) -> int:
        """Return how many blocks pipelined pools may take before something else happens."""
        return 0

    def commit_pipelined(self, pools: list[DecodePool], turns: list[int], ends_ns: list[int]) -> list[Sequence]:
        """Make ``turns`` decode steps of each pool, its last one ending at ``ends_ns``; return what finishes."""
        raise AssertionError("this scheduler has no pipelined pools")

    def drain(self) -> None:
        """Hear that no more requests will come, so that none is to be waited for."""

    def use_predictor(self, predictor: Predictor) -> None:
        """Hear which predictor will price the batches; again after every restore."""

    @property
    def next_wakeup_ns(self) -> int:
        """When ``schedule`` must be called again after a None although nothing has happened by then; -1 for never."""
        return -1

    def waiting_ids(self) -> Iterable[int]:
        """Return the ids of waiting requests, for messages about a run without progress."""
        return ()


SCHEDULERS: Final = Registry[Engine, SchedulerLimits, Scheduler]("engine.kind", "scheduler", lambda engine: engine.kind)
"""Filled by the modules of this package at import."""
