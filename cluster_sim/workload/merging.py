"""Several column sources at once (merged by time) and one after the other (phases)."""

from collections.abc import Iterator, Sequence

import numpy as np

from cluster_sim.units import NS_PER_S
from cluster_sim.workload.columns import Columns, ColumnSource, concatenate, sort_by_arrival


class _Feed:
    """The unread rest of one source."""

    def __init__(self, source: ColumnSource) -> None:
        self._blocks = source.columns()
        self.rest: Columns | None = next(self._blocks, None)

    def take_until(self, end_ns: int) -> Columns | None:
        """Return the rows of the current block up to and including ``end_ns``, and move on when it is used up."""
        if self.rest is None:
            return None
        cut = int(np.searchsorted(self.rest.arrival_ns, end_ns, side="right"))
        taken = self.rest.rows(slice(0, cut))
        self.rest = self.rest.rows(slice(cut, None))
        while self.rest is not None and not len(self.rest):
            self.rest = next(self._blocks, None)
        return taken if len(taken) else None


class MergedColumns:
    """Sources merged by arrival time; at equal times the earlier source of the list comes first."""

    def __init__(self, sources: Sequence[ColumnSource], first: int | None) -> None:
        self._sources = sources
        self._first = first

    def columns(self) -> Iterator[Columns]:
        """Yield the blocks from the first on; every call starts over and gives the same."""
        left = self._first
        for block in self._merged():
            part = block if left is None else block.rows(slice(0, left))
            yield part
            if left is not None:
                left -= len(part)
                if left == 0:
                    return

    def _merged(self) -> Iterator[Columns]:
        feeds = [_Feed(source) for source in self._sources]
        while True:
            ends = [int(feed.rest.arrival_ns[-1]) for feed in feeds if feed.rest is not None]
            if not ends:
                return
            end_ns = min(ends)
            # A feed whose block ends exactly there may go on with equal times in its next block.
            parts: list[Columns] = []
            for feed in feeds:
                while (taken := feed.take_until(end_ns)) is not None:
                    parts.append(taken)
            yield sort_by_arrival(concatenate(parts))


class PhasedColumns:
    """Sources one after the other, each cut off at the end of its phase."""

    def __init__(self, phases: Sequence[tuple[float, ColumnSource]], repeat: int) -> None:
        self._phases = phases
        self._repeat = repeat

    def columns(self) -> Iterator[Columns]:
        """Yield the blocks from the first on; every call starts over and gives the same."""
        start_ns = 0
        for _ in range(self._repeat):
            for duration_s, source in self._phases:
                length_ns = round(duration_s * NS_PER_S)
                for whole in source.columns():
                    cut = int(np.searchsorted(whole.arrival_ns, length_ns, side="left"))
                    block = whole.rows(slice(0, cut))
                    if len(block):
                        yield Columns(
                            block.arrival_ns + start_ns, block.prompt_tokens, block.output_tokens, block.attributes
                        )
                    if cut < len(whole):
                        break
                start_ns += length_ns
