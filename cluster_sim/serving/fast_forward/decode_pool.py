"""Decode pool: sequences that decode in lock-step, counted so that many steps are a closed form.

Between two changes of its members, every step of a pool computes one token for each of them.  So nothing is stored per
token: a member's computed tokens are ``base + step``; the sum over members is ``base_sum + count * step``; members are
sorted into residue classes of ``base`` modulo the block size, so the blocks that j more steps take are a sum over
classes; and the step that yields a member's last token is known when it joins, so completions are a heap of steps.
"""

import heapq
from bisect import bisect_right

from cluster_sim.serving.last_tokens import LastTokens
from cluster_sim.serving.sequence import Sequence


class DecodePool:
    """Sequences that each decode one token in every step of the pool."""

    def __init__(self, block_size: int) -> None:
        self._block_size = block_size
        self.step = 0
        """Steps made so far."""
        self.members: dict[int, Sequence] = {}
        """By the sequence's key."""
        self.last_tokens = LastTokens()
        self._base_sum = 0
        self._classes = [0] * block_size
        self._heap: list[tuple[int, int, Sequence]] = []

    def __len__(self) -> int:
        return len(self.members)

    @property
    def kv_tokens(self) -> int:
        """Tokens in the cache over all members."""
        return self._base_sum + len(self.members) * self.step

    def add(self, sequence: Sequence) -> None:
        """Add a sequence that needs exactly one token computed to yield its next; it has some left to yield."""
        base = sequence.computed - self.step
        sequence.base = base
        sequence.last_step = self.step + sequence.output_tokens - sequence.generated
        self.members[sequence.key] = sequence
        self._base_sum += base
        self._classes[base % self._block_size] += 1
        heapq.heappush(self._heap, (sequence.last_step, sequence.order, sequence))
        self.last_tokens.unsynchronised.append(sequence)

    def _leave(self, sequence: Sequence) -> None:
        sequence.computed = sequence.base + self.step
        sequence.generated = sequence.computed - sequence.prompt_tokens + 1
        self._base_sum -= sequence.base
        self._classes[sequence.base % self._block_size] -= 1

    def write_back(self) -> None:
        """Bring every member's own counters up to date; the pool stays as it is."""
        for sequence in self.members.values():
            sequence.computed = sequence.base + self.step
            sequence.generated = sequence.computed - sequence.prompt_tokens + 1

    def dissolve(self) -> None:
        """Write every member's counters back and empty the pool."""
        for sequence in self.members.values():
            self._leave(sequence)
        self.last_tokens.write_back(self.members.values())
        self.last_tokens.unsynchronised.clear()
        self.members.clear()
        self._heap.clear()

    def remove(self, sequence: Sequence) -> None:
        """Take one member out, its counters written back (a cancellation)."""
        self._leave(sequence)
        del self.members[sequence.key]
        self._heap = [entry for entry in self._heap if entry[2] is not sequence]
        heapq.heapify(self._heap)
        self.last_tokens.remove(sequence)

    def steps_to_finish(self) -> int:
        """Return after how many more steps the first member yields its last token; the pool is not empty."""
        return self._heap[0][0] - self.step

    def blocks_for(self, steps: int) -> int:
        """Return how many blocks the next ``steps`` steps take.

        A member takes a block at step s (counted from 0) when base + s is a multiple of the block size.
        """
        if steps == 1:
            return self._classes[-self.step % self._block_size]
        return self._events(self._classes, len(self.members), 0, steps)

    def _events(self, classes: list[int], members: int, shift: int, steps: int) -> int:
        """Count the next ``steps`` steps' events of members that have one when ``base + step`` is ``shift`` modulo the
        block size; ``classes`` counts those ``members`` members by the residue of their base.
        """
        size = self._block_size
        first = (shift - self.step) % size
        cycles = steps // size
        rest = steps - cycles * size
        blocks = cycles * members
        last = first - rest  # The classes that step are first, first - 1, ... last + 1, around the corner.
        if last >= -1:
            return blocks + sum(classes[last + 1 : first + 1])
        return blocks + sum(classes[: first + 1]) + sum(classes[last + 1 + size :])

    def blocks_taken(self) -> int:
        """Return how many blocks the next step takes."""
        return self._classes[-self.step % self._block_size]

    def steps_within(self, free_blocks: int, steps: int) -> int:
        """Return how many of the next ``steps`` steps fit in ``free_blocks``."""
        if free_blocks >= len(self.members) * (steps // self._block_size + 1):
            return steps
        if self.blocks_for(steps) <= free_blocks:
            return steps
        return bisect_right(range(1, steps), free_blocks, key=self.blocks_for)

    def advance(self, steps: int) -> list[Sequence]:
        """Make ``steps`` steps and return the members, now gone, that yield their last token in the last one.

        None may finish before it.  The caller sets ``last_tokens.time_ns`` once it knows when the last step ends.
        """
        self.step += steps
        if self.last_tokens.unsynchronised:
            self.last_tokens.unsynchronised.clear()
        heap = self._heap
        finished: list[Sequence] = []
        while heap and heap[0][0] <= self.step:
            sequence = heapq.heappop(heap)[2]
            self._leave(sequence)
            del self.members[sequence.key]
            finished.append(sequence)
        return finished


class ReservedPool(DecodePool):
    """A pool whose members' memory was all reserved before they decode."""

    def __init__(self) -> None:
        super().__init__(1)

    def blocks_for(self, steps: int) -> int:
        """Return 0: nothing more is taken."""
        return 0 * steps

    def steps_within(self, free_blocks: int, steps: int) -> int:
        """Return all steps, however little is free."""
        return steps
