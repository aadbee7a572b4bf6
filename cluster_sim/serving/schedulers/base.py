"""Interface of the schedulers.

A scheduler decides what the next engine step computes.  It owns the waiting and running sequences and the KV cache; it
knows simulated time only as an argument and never the duration of a step: the replica asks it for a batch, gets the
batch's end from the predictor and the pipeline, and passes it on.

A scheduler whose decodes can be fast-forwarded has the methods of ``FastForwardScheduler`` too
(``fast_forward/interface.py``); one without them is stepped batch by batch, with the same results.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from cluster_sim.hardware.predictors.predictor_interface import Predictor
from cluster_sim.serving.batch import Batch
from cluster_sim.serving.kv_cache.prefix_changes import PrefixReporter
from cluster_sim.serving.scheduler_limits import SchedulerLimits
from cluster_sim.serving.schedulers.engine_options import EngineOptions
from cluster_sim.serving.sequence import Sequence


class Scheduler(ABC):
    """Forms batches for one replica, or for one data-parallel rank of it."""

    # Capabilities of the engine.
    runs_in_stages: ClassVar[bool] = True
    """Whether a replica may be a pipeline of several stages."""
    has_ranks: ClassVar[bool] = False
    """Whether data-parallel ranks can step together."""
    has_radix_tree: ClassVar[bool] = False
    """Whether cached prefixes form a tree that a queue order can walk."""
    has_static_batches: ClassVar[bool] = False
    """Whether the requests of a batch stay together to its end."""
    computes_whole_prompts: ClassVar[bool] = False
    """Whether a prompt runs in one step, so that none may exceed the token budget."""
    reserves_longest: ClassVar[bool] = False
    """Whether every sequence takes memory for ``max_model_len`` tokens."""
    hands_over: bool = False
    """Whether prompts can be computed here for another replica, or there for this one."""
    null_blocks: ClassVar[int] = 0
    """Blocks that the engine keeps for itself."""

    # State that the replica reads.
    unbatched_preemptions = 0
    """Preemptions by the last ``schedule`` that returned None, which no batch reports."""
    unbatched_ranks: tuple[tuple[int, int], ...] = ()
    """Those preemptions by data-parallel rank, if there are several."""
    retry_now = False
    """Whether a ``schedule`` that returned None freed something, so that it must be called again at the same time."""
    is_prefill_step = True
    """Whether the next batch is one of those in which all data-parallel ranks compute prompts; in others, ranks that
    can decode defer them."""
    waits_for_full_batch = False
    """Whether requests wait for others to come, on purpose, so that time without a token is no stall."""
    granted: tuple[Sequence, ...] = ()
    """Sequences that the last ``schedule`` gave blocks for prompts which are computed elsewhere."""
    begun: tuple[Sequence, ...] = ()
    """Sequences that the last ``schedule`` let run with the first tokens that have come along with their prompts."""
    has_prefix_cache = False
    """Whether prompts are looked up in a cache, so that hits are counted."""

    @abstractmethod
    def __init__(self, engine: EngineOptions, limits: SchedulerLimits) -> None:
        """Build the scheduler of an empty replica; ``engine`` is resolved."""

    @classmethod
    def longest_request(cls, engine: EngineOptions, limits: SchedulerLimits) -> int:  # noqa: ARG003 - for those that reserve
        """Return the most tokens, prompt and output, that the memory of an empty replica surely serves."""
        return limits.max_model_len

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
        """Decide the next batch at ``now_ns`` and move all counters as if it had run; None if there is none.

        Called again at every arrival and batch end while a slot in flight is free, and at once after a None that
        preempted something (``retry_now``).
        """

    @abstractmethod
    def on_scheduled(self, batch: Batch) -> None:
        """Take in a batch's end time (``batch.end_ns``), right after ``schedule`` returned it."""

    @abstractmethod
    def complete(self, batch: Batch) -> None:
        """Handle the end of a batch: finished sequences give up slot and memory."""

    @abstractmethod
    def remove_waiting(self, key: int) -> bool:
        """Drop a sequence that waits for a slot; return whether there was one.  Called at any time."""

    @abstractmethod
    def cancel(self, key: int) -> bool:
        """Drop a sequence, waiting or running; return whether it has left.  Called between two batches.

        One whose last token is in a batch stays, and so does one that ``is_in_flight``.
        """

    def is_in_flight(self, key: int) -> bool:
        """Whether ``cancel`` cannot drop a sequence before a batch in flight that holds it has ended."""
        return False

    def reporting_caches(self) -> list[PrefixReporter]:
        """Return the caches that can report their prefixes: one, or one a rank; none where prefixes are not cached."""
        return []

    def adapters(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the LoRA adapters of running requests, and those of waiting ones that no running one has, sorted."""
        return (), ()

    @property
    def reservations(self) -> int:
        """Sequences that wait for blocks for a prompt computed elsewhere."""
        return 0

    def reserve(self, sequence: Sequence) -> None:
        """Take in a sequence whose prompt is computed elsewhere; once it has blocks for that, it is ``granted``."""
        raise NotImplementedError

    def arrive(self, key: int, computed_tokens: int, generated_tokens: int, now_ns: int) -> bool:
        """Take in that a granted sequence's prompt is in its blocks, of which ``computed_tokens`` count as computed,
        with the first ``generated_tokens`` of its answer; return whether it is still here.
        """
        raise NotImplementedError

    def release(self, key: int) -> bool:
        """Take back the blocks of a prompt that was computed for another replica, or do so once its step has ended;
        return whether they are free now.
        """
        raise NotImplementedError

    @abstractmethod
    def fewest_batches(self) -> int:
        """Return a lower bound of the batches that must still be scheduled before any sequence here yields its last
        token; 0 if there is none left to schedule.
        """

    def write_back(self) -> None:
        """Bring the counters of all sequences up to date, as the last act of a run."""

    def validate(self) -> None:
        """Assert in full what must hold between two windows, for runs that check their states."""
        assert self.running_count >= 0, "sequences hold slots"
        assert self.waiting_count >= 0, "sequences wait"
        assert self.kv_used_blocks >= 0, "blocks are held"

    def drain(self) -> None:
        """Take in that no more requests will come, so that none is to be waited for."""

    def use_predictor(self, predictor: Predictor) -> None:
        """Take the predictor that prices the batches; again after every restore."""

    @property
    def next_wakeup_ns(self) -> int:
        """When ``schedule`` must be called again after a None although nothing has happened by then; -1 for never."""
        return -1

    def rank_states(self) -> tuple[tuple[int, int, int], ...]:
        """Return (running, waiting, KV blocks in use) of every data-parallel rank, if there are several."""
        return ()

    def waiting_ids(self) -> Iterable[int]:
        """Return the ids of waiting requests, for messages about a run without progress."""
        return ()
