"""A source of columns with given times."""

from collections.abc import Iterator

import numpy as np

from cluster_sim.workload.columns import Columns


class ListedColumns:
    """A source of given times, in blocks of given sizes; the prompt tells where a row came from."""

    def __init__(self, times: list[int], block: int, tag: int) -> None:
        self.times, self.block, self.tag = times, block, tag

    def columns(self) -> Iterator[Columns]:
        for start in range(0, len(self.times), self.block):
            part = np.asarray(self.times[start : start + self.block], dtype=np.int64)
            yield Columns(part, np.full(len(part), self.tag), np.ones(len(part), dtype=np.int64))
