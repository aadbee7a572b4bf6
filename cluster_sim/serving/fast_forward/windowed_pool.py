"""A decode pool whose members give blocks back as their attention window moves on."""

import heapq

from cluster_sim.hardware.kv_groups import KvGroups
from cluster_sim.serving.fast_forward.block_steps import BlockSteps
from cluster_sim.serving.fast_forward.decode_pool import DecodePool
from cluster_sim.serving.sequence import Sequence


class WindowedPool(DecodePool):
    """The closed form of decodes over KV cache groups.

    A member takes a block in every group when its computed tokens are a multiple of the block size.  In every windowed
    group it gives ``_portion`` blocks back each ``_period`` tokens: one each block size for a sliding window, all of a
    chunk at the chunk's end.  Members whose sliding window has begun to move are counted by residue class, as those
    that take are; all others stand in a heap of the steps at which they give next.  What a newcomer's last prompt chunk
    left to give comes with its first step.
    """

    def __init__(self, block_size: int, groups: KvGroups, *, names_blocks: bool = False) -> None:
        """``names_blocks`` says that the cache must be told of every single block, so that ``due`` can be asked."""
        super().__init__(block_size)
        self.groups = groups
        self._block_steps = BlockSteps(block_size, groups) if names_blocks else None
        self._period = groups.window_tokens if groups.is_chunked else block_size
        self._portion = self._period // block_size
        self._moving: dict[int, None] = {}
        """Members counted in ``_giving``."""
        self._giving = [0] * block_size
        self._turns: list[tuple[int, int, Sequence]] = []
        """(step, order, member) of the others' next gift; void where the member's ``_turn_of`` differs."""
        self._turn_of: dict[int, int] = {}
        self._fresh: dict[int, Sequence] = {}
        """Members that have made no step here yet."""
        self._left_over = 0
        """Blocks that these give in each windowed group beyond what their first step frees."""

    def add(self, sequence: Sequence) -> None:
        super().add(sequence)
        computed = sequence.computed
        self._fresh[sequence.key] = sequence
        self._left_over += self._owed(sequence)
        groups, size = self.groups, self._block_size
        if groups.is_chunked:
            self._await(sequence, -(-computed // self._period) * self._period)
        elif computed < groups.window_tokens:
            self._await(sequence, groups.window_tokens - 1 + size)
        else:
            self._set_moving(sequence)
        if self._block_steps is not None:
            self._block_steps.add(sequence)

    def due(self, steps: int) -> list[tuple[int, list[Sequence]]]:
        """Return the steps, counted from the next one, in which members touch their blocks, and these members in
        order of admission.
        """
        assert self._block_steps is not None
        return self._block_steps.due(self.step, steps, self._fresh.values())

    def _await(self, sequence: Sequence, computed: int) -> None:
        """Note that a member gives blocks back in the step that begins with ``computed`` tokens computed."""
        turn = computed - sequence.base
        self._turn_of[sequence.key] = turn
        heapq.heappush(self._turns, (turn, sequence.order, sequence))

    def _set_moving(self, sequence: Sequence) -> None:
        self._moving[sequence.key] = None
        self._giving[sequence.base % self._block_size] += 1

    def _owed(self, sequence: Sequence) -> int:
        """Return the blocks that a fresh member could give back in each windowed group before its first step here."""
        return self.groups.skipped_tokens(sequence.base + self.step - 1) // self._block_size - sequence.skipped_blocks

    def _leave(self, sequence: Sequence) -> None:
        key = sequence.key
        if self._block_steps is not None:
            self._block_steps.remove(sequence)
        if key in self._fresh:
            self._left_over -= self._owed(sequence)
            del self._fresh[key]
        else:
            last = sequence.base + self.step - 1
            sequence.skipped_blocks = self.groups.skipped_tokens(last) // self._block_size
        if key in self._moving:
            del self._moving[key]
            self._giving[sequence.base % self._block_size] -= 1
        else:
            del self._turn_of[key]
        super()._leave(sequence)

    def dissolve(self) -> None:
        super().dissolve()
        self._turns.clear()

    def blocks_taken(self) -> int:
        """Return how many blocks the next step takes, whatever it gives back."""
        return self.groups.count * super().blocks_taken()

    def blocks_for(self, steps: int) -> int:
        """Return by how many blocks the next ``steps`` steps take more than they give back; may be negative."""
        if not steps:
            return 0
        return self.groups.count * super().blocks_for(steps) - self.groups.windowed * self._given(steps)

    def _given(self, steps: int) -> int:
        """Return the blocks given back in each windowed group in the next ``steps`` steps."""
        given = self._left_over
        if self._moving:
            given += self._events(self._giving, len(self._moving), self._shift, steps)
        end = self.step + steps
        if self._turns and self._turns[0][0] < end:
            for turn, _, sequence in self._turns:
                if turn < end and self._turn_of.get(sequence.key) == turn:
                    given += self._portion * (1 + (end - 1 - turn) // self._period)
        return given

    @property
    def _shift(self) -> int:
        """A sliding window frees a block when the computed tokens modulo the block size are this."""
        return (self.groups.window_tokens - 1) % self._block_size

    def steps_within(self, free_blocks: int, steps: int) -> int:
        """Return a number of next steps that surely fit in ``free_blocks``, each before it gives anything back."""
        taken = self.groups.count * super().blocks_for(steps)
        if taken <= free_blocks:
            return steps
        # Later members only begin to give, so each cycle of a block size takes at least what the one before took.
        size, members = self._block_size, len(self.members)
        growth = self.groups.count * members - self.groups.windowed * len(self._moving)
        fit = steps
        for step, used in enumerate(self._cycle(is_peak=True)):
            if used > free_blocks:
                return min(fit, step)
            if growth:
                fit = min(fit, step + size * ((free_blocks - used) // growth + 1))
        return fit

    def steps_below(self, blocks: int, steps: int) -> int:
        """Return how many of the next ``steps`` steps surely leave less than ``blocks`` more blocks free than now."""
        if self._turns:
            steps = min(steps, max(0, self._turns[0][0] - self.step))
        for step, used in enumerate(self._cycle(is_peak=False)):
            if -used >= blocks:
                return min(steps, step)
        return steps

    def _cycle(self, *, is_peak: bool) -> list[int]:
        """Return by how much more blocks are in use in each of the next ``block_size`` steps than now, gifts of the
        heap apart: at the step's peak, when it has taken but given nothing back, or at its end.
        """
        size, count, windowed = self._block_size, self.groups.count, self.groups.windowed
        levels: list[int] = []
        level = 0
        for step in range(size):
            residue = -(self.step + step) % size
            given = self._giving[(residue + self._shift) % size] + (0 if step else self._left_over)
            level += count * self._classes[residue]
            if is_peak:
                levels.append(level)
            level -= windowed * given
            if not is_peak:
                levels.append(level)
        return levels

    def advance(self, steps: int) -> list[Sequence]:
        self._fresh.clear()
        self._left_over = 0
        finished = super().advance(steps)
        turns = self._turns
        while turns and turns[0][0] < self.step:
            turn, _, sequence = heapq.heappop(turns)
            if self._turn_of.get(sequence.key) != turn:
                continue
            if self.groups.is_chunked:
                behind = (self.step - turn + self._period - 1) // self._period * self._period
                self._await(sequence, sequence.base + turn + behind)
            else:
                del self._turn_of[sequence.key]
                self._set_moving(sequence)
        return finished
