"""Steps in which the members of a windowed decode pool take, fill or give back blocks."""

from collections.abc import Iterable

from cluster_sim.hardware.kv_groups import KvGroups
from cluster_sim.serving.sequence import Sequence


class BlockSteps:
    """Members by the residue of their base, for caches that name their blocks: they must take and give back each one.

    A member's computed tokens are its base plus the pool's step, so all members of one residue touch their blocks in
    the same steps.
    """

    def __init__(self, block_size: int, groups: KvGroups) -> None:
        self._block_size = block_size
        self._by_residue: list[dict[int, Sequence]] = [{} for _ in range(block_size)]
        leaving = 0 if groups.is_chunked else (groups.window_tokens - 1) % block_size
        self._phases = sorted({0, block_size - 1, leaving})
        """Computed tokens modulo the block size at which a step takes, fills or gives back a block."""

    def add(self, sequence: Sequence) -> None:
        """Add a member."""
        self._by_residue[sequence.base % self._block_size][sequence.key] = sequence

    def remove(self, sequence: Sequence) -> None:
        """Remove a member."""
        del self._by_residue[sequence.base % self._block_size][sequence.key]

    def due(self, pool_step: int, steps: int, fresh: Iterable[Sequence]) -> list[tuple[int, list[Sequence]]]:
        """Return those of the next ``steps`` steps, counted from 0 after ``pool_step``, in which members touch their
        blocks, and these members in order of admission; ``fresh`` ones do so in step 0 whatever their residue.
        """
        size = self._block_size
        due: dict[int, dict[int, Sequence]] = {}
        for sequence in fresh:
            due.setdefault(0, {})[sequence.key] = sequence
        for residue, members in enumerate(self._by_residue):
            if not members:
                continue
            for phase in self._phases:
                for step in range((phase - residue - pool_step) % size, steps, size):
                    due.setdefault(step, {}).update(members)
        return [(step, sorted(due[step].values(), key=lambda member: member.order)) for step in sorted(due)]
