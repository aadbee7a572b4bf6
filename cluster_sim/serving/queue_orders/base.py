"""Interface of the queue orders, and their registry.

A queue order gives every waiting sequence a key; the smallest goes first, equal keys by arrival, then by request id.  A
*static* key never changes while the sequence waits, so a queue can keep it; a dynamic one is asked again at every
scheduling instant.  So that not everybody who waits is asked, an order may put sequences that never overtake one
another into *groups*: then only the first of each group is.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, ClassVar, Final

from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.hardware.predictors.predictor_interface import Predictor
from cluster_sim.options import ConfigModel
from cluster_sim.registry import Registry
from cluster_sim.serving.kv_cache.radix import RadixCache
from cluster_sim.serving.sequence import Sequence

if TYPE_CHECKING:
    from cluster_sim.serving.queue_orders.waiting_queue import WaitingQueue

PrefixTokens = Callable[[Sequence], int]
"""Returns how many tokens of a waiting sequence the KV cache holds now."""


class QueueOrder(ABC):
    """The order of one replica's waiting queue."""

    is_by_arrival: ClassVar = False
    """Whether it is plain first come, first served, which costs a scheduler nothing."""
    chooses_victims: ClassVar = False
    """Whether an engine that can preempts by this order too."""
    needs_prefix_cache: ClassVar = False
    """Whether it reads what the KV cache holds of a prompt."""
    needs_radix_tree: ClassVar = False
    """Whether it walks the cache's radix tree, so that it exists in engines that have one only."""
    is_static = True
    """Whether a key holds for as long as the sequence waits."""
    watches_running = False
    """Whether ``begin`` reads the running sequences' counters."""
    sizes_chunks = False
    """Whether ``fit_chunk`` limits prefill chunks and ``may_join`` keeps some out of a step."""

    def __init__(self, options: ConfigModel, prefix_tokens: PrefixTokens) -> None:
        self.now_ns = 0
        """The scheduling instant for which keys are asked."""

    @abstractmethod
    def key(self, sequence: Sequence) -> float:
        """Return the sequence's place; the smallest goes first."""

    def group(self, sequence: Sequence) -> object:
        """Return the group of a sequence that begins to wait; those of a group keep their order while they wait."""
        return None if self.is_static else sequence.key

    def place(self, sequence: Sequence) -> float:
        """Return the place in its group of a sequence that begins to wait; the smallest goes first, equals by arrival,
        then by request id, and so must ``key`` have it whenever it is asked.
        """
        return self.key(sequence) if self.is_static else 0.0

    def begin(self, groups: Collection[object], running: Iterable[Sequence], now_ns: int) -> None:
        """Take in the scheduling instant, the groups of those who wait, and who runs, before keys are asked at it."""
        self.now_ns = now_ns

    def on_waiting(self, groups: Collection[object]) -> None:
        """Take in the groups of those who still wait after admission, so that nothing depends on steps in which nobody
        is admitted.
        """

    def on_preempted(self, sequence: Sequence, *, is_first: bool) -> None:
        """Take in that a sequence waits again, before its equals if ``is_first``."""

    def on_end(self, sequence: Sequence) -> None:
        """Take in that a sequence has left for good."""

    def use_predictor(self, predictor: Predictor) -> None:
        """Take the predictor that prices the batches; again after every restore."""

    def may_join(self, shape: BatchShape, end: int) -> bool:
        """Whether a prefill chunk that ends ``end`` tokens deep in its sequence may join a step of ``shape``."""
        return True

    def fit_chunk(self, sequence: Sequence, computed: int, chunk: int, shape: BatchShape) -> int:
        """Return how much of a prefill chunk behind ``computed`` tokens may join a step of ``shape``; 0 for none."""
        return chunk


class TreeOrder(QueueOrder):
    """A queue order that can be read off a radix tree."""

    needs_prefix_cache = True
    is_static = False

    @abstractmethod
    def new_queue(self, cache: RadixCache) -> "WaitingQueue":
        """Return an empty queue that its ``sort`` puts in this order."""


QUEUE_ORDERS: Final = Registry[type[QueueOrder]](
    "queue order",
    "cluster_sim.serving.queue_orders",
    "cluster_sim.queue_orders",
    tag="policy",
    shares_options=True,
)
