"""Waiting queue of a scheduler, with figures that spare walking it: only logarithms depend on how many wait.

A queue order that cannot put sequences into groups is the exception: all of them are asked for their keys.
"""

import heapq
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator

from cluster_sim.serving.queue_orders.base import QueueOrder
from cluster_sim.serving.sequence import Sequence
from cluster_sim.serving.sorted_run import Entry, SortedRun


class WaitingQueue(ABC):
    """Sequences that wait for a slot, in the order in which they are to get one.

    ``reads_all`` says that a newcomer may be admitted although the head stays.
    """

    def __init__(self, *, reads_all: bool) -> None:
        self._reads_all = reads_all
        self.present: dict[int, Sequence] = {}
        """Who waits, by key, in no order; always this very object, so that others may keep it."""
        self.is_sorted = True
        """Nobody has come since the queue was last put in order."""
        self.is_blocked = False
        """The head was refused, and nothing that could change this has happened since."""
        self.wanted_blocks = 0
        """How many free blocks that would take; 0 if it was refused for another reason."""
        self._left: list[tuple[int, int]] | None = None
        """Heap of (tokens that a sequence must still yield, its key); those who have left stay until they come up.
        None until somebody asks, and again once nobody waits.
        """
        self.deferred: list[Sequence] = []
        """Who is set aside, in order, until ``restore``."""

    @abstractmethod
    def __iter__(self) -> Iterator[Sequence]:
        """Yield those who wait in order, while nobody comes or goes."""

    @property
    @abstractmethod
    def head(self) -> Sequence:
        """Who is next; somebody waits."""

    def enter(self, sequence: Sequence) -> None:
        """Take in a sequence that has just become ready, behind its equals."""
        self._insert(sequence)
        self.is_sorted = False
        if self._reads_all or self.head is sequence:
            self.is_blocked = False

    def put_back(self, sequence: Sequence) -> None:
        """Take in a sequence that has lost its slot, before its equals."""
        self._insert_first(sequence)
        self.is_sorted = False

    @abstractmethod
    def leave(self) -> Sequence:
        """Take the head out, and return it."""

    def defer(self) -> None:
        """Set the head aside until ``restore``."""
        self.deferred.append(self.leave())

    def restore(self) -> None:
        """Put those who were set aside back in their places."""
        for sequence in reversed(self.deferred):
            self._insert_first(sequence)
        self.deferred.clear()

    def remove(self, key: int) -> Sequence | None:
        """Drop an attempt wherever it stands; return its sequence, None if it was not here."""
        sequence = self.present.pop(key, None)
        if sequence is not None:
            self._drop(sequence)
            self.is_blocked = False
        return sequence

    def sort(self, running: Iterable[Sequence], now_ns: int) -> None:
        """Put the queue in order at ``now_ns``."""
        self.is_sorted = True

    def on_admitted(self) -> None:
        """Tell the queue order, if there is one, who still waits after an admission."""

    def fewest_left(self) -> int:
        """Return the fewest tokens that a waiting sequence must still yield; the queue is not empty."""
        present = self.present
        heap = self._left
        if heap is None:
            heap = self._left = self._new_heap()
        while True:
            left, key = heap[0]
            sequence = present.get(key)
            if sequence is not None and sequence.output_tokens - sequence.generated == left:
                return left
            heapq.heappop(heap)

    def _note(self, sequence: Sequence) -> None:
        """Count a sequence that comes."""
        present, heap = self.present, self._left
        if heap is not None:
            if not present:
                self._left = None
            else:
                if len(heap) > 2 * len(present) + 64:
                    heap = self._left = self._new_heap()
                heapq.heappush(heap, (sequence.output_tokens - sequence.generated, sequence.key))
        present[sequence.key] = sequence

    def _new_heap(self) -> list[tuple[int, int]]:
        heap = [(sequence.output_tokens - sequence.generated, key) for key, sequence in self.present.items()]
        heapq.heapify(heap)
        return heap

    @abstractmethod
    def _insert(self, sequence: Sequence) -> None:
        """Count a sequence, and put it behind its equals."""

    @abstractmethod
    def _insert_first(self, sequence: Sequence) -> None:
        """Count a sequence, and put it before its equals."""

    @abstractmethod
    def _drop(self, sequence: Sequence) -> None:
        """Take a sequence that is counted no more from its place."""


class ArrivalQueue(WaitingQueue):
    """First come, first served: all are equals."""

    def __init__(self, *, reads_all: bool = False) -> None:
        super().__init__(reads_all=reads_all)
        self._entries: deque[Sequence] = deque()

    def __iter__(self) -> Iterator[Sequence]:
        return iter(self._entries)

    @property
    def head(self) -> Sequence:
        return self._entries[0]

    def enter(self, sequence: Sequence) -> None:
        self._note(sequence)
        entries = self._entries
        entries.append(sequence)
        self.is_sorted = False
        if self._reads_all or len(entries) == 1:
            self.is_blocked = False

    def leave(self) -> Sequence:
        head = self._entries.popleft()
        del self.present[head.key]
        return head

    def arrange(self, ordered: Iterable[Sequence]) -> None:
        """Put those who wait in another order."""
        self._entries = deque(ordered)

    def _insert(self, sequence: Sequence) -> None:
        self._note(sequence)
        self._entries.append(sequence)

    def _insert_first(self, sequence: Sequence) -> None:
        self._note(sequence)
        self._entries.appendleft(sequence)

    def _drop(self, sequence: Sequence) -> None:
        self._entries.remove(sequence)


class OrderedQueue(WaitingQueue):
    """By a queue order: the sequences of each of its groups stand in a run, of which only the first are compared."""

    def __init__(self, order: QueueOrder, *, reads_all: bool = True) -> None:
        super().__init__(reads_all=reads_all)
        self._order = order
        self._runs: dict[object, SortedRun] = {}
        """By group; none is empty."""
        self._entries: dict[int, tuple[object, Entry]] = {}
        """Group and entry of those who wait, by key."""
        self._numbers = 0
        self._heads: list[tuple[float, int, int, int, object]] = []
        """Heap of (key, arrival, request, number, group) of each run's first sequence; empty if to be made anew."""

    def __iter__(self) -> Iterator[Sequence]:
        if len(self._runs) == 1:
            return iter(next(iter(self._runs.values())))
        return map(_sequence_of, heapq.merge(*(self._keyed(run) for run in self._runs.values())))

    @property
    def head(self) -> Sequence:
        if len(self._runs) == 1:
            return next(iter(self._runs.values())).first
        if not self._heads:
            self._heads = [self._entry_of_head(group) for group in self._runs]
            heapq.heapify(self._heads)
        return self._runs[self._heads[0][4]].first

    def leave(self) -> Sequence:
        head = self.head
        del self.present[head.key]
        group, _ = self._entries.pop(head.key)
        run = self._runs[group]
        run.pop()
        heads = self._heads
        if not run:
            del self._runs[group]
        if heads:
            if run:
                heapq.heapreplace(heads, self._entry_of_head(group))
            else:
                heapq.heappop(heads)
        return head

    def sort(self, running: Iterable[Sequence], now_ns: int) -> None:
        order = self._order
        if self.is_sorted and order.is_static:
            return
        order.begin(self._runs.keys(), running, now_ns)
        self._heads.clear()
        self.is_sorted = True

    def on_admitted(self) -> None:
        self._order.on_waiting(self._runs.keys())

    def enter(self, sequence: Sequence) -> None:
        super().enter(sequence)
        if sequence.scheduled_ns >= 0:
            self._order.on_preempted(sequence, is_first=False)

    def put_back(self, sequence: Sequence) -> None:
        super().put_back(sequence)
        self._order.on_preempted(sequence, is_first=True)

    def _insert(self, sequence: Sequence) -> None:
        self._numbers += 1
        self._place(sequence, self._numbers)

    def _insert_first(self, sequence: Sequence) -> None:
        self._numbers += 1
        self._place(sequence, -self._numbers)

    def _place(self, sequence: Sequence, number: int) -> None:
        self._note(sequence)
        order = self._order
        group = order.group(sequence)
        entry = (order.place(sequence), sequence.request.arrival_ns, sequence.request_id, number, sequence)
        self._entries[sequence.key] = (group, entry)
        run = self._runs.get(group)
        if run is None:
            run = self._runs[group] = SortedRun()
        run.insert(entry)
        self._heads.clear()

    def _drop(self, sequence: Sequence) -> None:
        group, entry = self._entries.pop(sequence.key)
        run = self._runs[group]
        run.remove(entry)
        if not run:
            del self._runs[group]
        self._heads.clear()

    def _entry_of_head(self, group: object) -> tuple[float, int, int, int, object]:
        _, arrival_ns, request_id, number, sequence = self._runs[group].first_entry
        return (self._order.key(sequence), arrival_ns, request_id, number, group)

    def _keyed(self, run: SortedRun) -> Iterator[tuple[float, int, int, int, Sequence]]:
        for _, arrival_ns, request_id, number, sequence in run.entries():
            yield (self._order.key(sequence), arrival_ns, request_id, number, sequence)


def _sequence_of(entry: tuple[float, int, int, int, Sequence]) -> Sequence:
    return entry[4]


def queue_in(order: QueueOrder | None) -> WaitingQueue:
    """Return an empty queue in a queue order; None is first come, first served."""
    return ArrivalQueue() if order is None else OrderedQueue(order)
