"""A windowed decode pool that can tell which member touches its blocks in which step."""

from cluster_sim.hardware.kv_groups import KvGroups
from cluster_sim.serving.fast_forward.windowed_pool import WindowedPool
from cluster_sim.serving.sequence import Sequence


class ReplayedPool(WindowedPool):
    """A ``WindowedPool`` for caches that name their blocks, so that every single one must be taken and given back."""

    def __init__(self, block_size: int, groups: KvGroups) -> None:
        super().__init__(block_size, groups)
        self._buckets: list[dict[int, Sequence]] = [{} for _ in range(block_size)]
        """Members by the residue of their base."""
        shift = 0 if groups.is_chunked else self._shift
        self._phases = sorted({0, block_size - 1, shift})
        """Computed tokens modulo the block size at which a step takes, fills or gives back a block."""

    def add(self, sequence: Sequence) -> None:
        super().add(sequence)
        self._buckets[sequence.base % self._block_size][sequence.request_id] = sequence

    def _leave(self, sequence: Sequence) -> None:
        super()._leave(sequence)
        del self._buckets[sequence.base % self._block_size][sequence.request_id]

    def due(self, steps: int) -> list[tuple[int, list[Sequence]]]:
        """Return the steps, counted from the next one, in which members touch their blocks, and these members in
        order of admission.
        """
        size = self._block_size
        due: dict[int, dict[int, Sequence]] = {0: dict(self.fresh)} if self.fresh else {}
        for residue, bucket in enumerate(self._buckets):
            if not bucket:
                continue
            for phase in self._phases:
                for step in range((phase - residue - self.step) % size, steps, size):
                    due.setdefault(step, {}).update(bucket)
        return [(step, sorted(due[step].values(), key=lambda each: each.order)) for step in sorted(due)]
