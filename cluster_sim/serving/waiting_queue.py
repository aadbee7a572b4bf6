"""Waiting queue of a scheduler that admits in order, with figures that spare walking it."""

from collections import deque
from collections.abc import Iterable

from cluster_sim.serving.queue_orders.base import QueueOrder
from cluster_sim.serving.sequence import Sequence


def urgency(sequence: Sequence) -> tuple[int, int, int]:
    """Return a sequence's place under vLLM's ``priority`` policy, the most urgent first."""
    request = sequence.request
    return request.attributes.priority, request.arrival_ns, sequence.request_id


class WaitingQueue:
    """Sequences that wait for a slot, the next to be admitted in front.

    Newcomers go to the end and preempted sequences to the front, unless the queue keeps itself sorted by ``urgency``;
    ``sort`` puts all in a queue order.
    """

    def __init__(self, *, is_by_urgency: bool, reads_all: bool) -> None:
        """``reads_all`` says that a newcomer may be admitted although the head stays."""
        self._is_by_urgency = is_by_urgency
        self._reads_all = reads_all
        self.entries: deque[Sequence] = deque()
        """Always this very object, so that others may keep it."""
        self.is_sorted = True
        self.is_blocked = False
        """The head was refused, and nothing that could change this has happened since."""
        self.wanted_blocks = 0
        """How many free blocks that would take; 0 if it was refused for another reason."""
        self._fewest_left = 0
        """Fewest tokens that a waiting sequence must still yield; 0 when not known."""

    def enter(self, sequence: Sequence) -> None:
        """Take in a sequence that has just become ready."""
        entries = self.entries
        if self._is_by_urgency:
            self._insert(sequence)
        else:
            entries.append(sequence)
        self.is_sorted = False
        if self._reads_all or len(entries) == 1 or entries[0] is sequence:
            self.is_blocked = False
        left = sequence.output_tokens
        if len(entries) == 1 or (self._fewest_left and left < self._fewest_left):
            self._fewest_left = left

    def put_back(self, sequence: Sequence) -> None:
        """Take in a sequence that has lost its slot."""
        if self._is_by_urgency:
            self._insert(sequence)
        else:
            self.entries.appendleft(sequence)
            self.is_sorted = False
        self._fewest_left = 0

    def leave(self, head: Sequence) -> None:
        """Take the head out, which has got a slot."""
        self.entries.popleft()
        if head.output_tokens - head.generated == self._fewest_left:
            self._fewest_left = 0

    def remove(self, key: int) -> Sequence | None:
        """Drop an attempt wherever it stands; return its sequence, None if it was not here."""
        for index, sequence in enumerate(self.entries):
            if sequence.key == key:
                del self.entries[index]
                self._fewest_left = 0
                self.is_blocked = False
                return sequence
        return None

    def sort(self, order: QueueOrder, running: Iterable[Sequence], now_ns: int) -> None:
        """Put the queue in order at ``now_ns``."""
        entries = self.entries
        ordered = order.sort(entries, running, now_ns)
        entries.clear()
        entries.extend(ordered)
        self.is_sorted = True

    def fewest_left(self) -> int:
        """Return the fewest tokens that a waiting sequence must still yield; the queue is not empty."""
        if not self._fewest_left:
            self._fewest_left = min(sequence.output_tokens - sequence.generated for sequence in self.entries)
        return self._fewest_left

    def _insert(self, sequence: Sequence) -> None:
        entries = self.entries
        place = urgency(sequence)
        index = len(entries)
        while index and urgency(entries[index - 1]) > place:
            index -= 1
        entries.insert(index, sequence)
