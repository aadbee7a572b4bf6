"""Requests drawn from an arrival process and length distributions."""

from collections import Counter
from collections.abc import Iterator

from cluster_sim.workload.arrivals import build_arrivals
from cluster_sim.workload.clipping import clip_block
from cluster_sim.workload.columns import Columns
from cluster_sim.workload.lengths import build_lengths
from cluster_sim.workload.limits import limited_times
from cluster_sim.workload.options import SyntheticWorkload
from cluster_sim.workload.sampling.random_streams import Stream
from cluster_sim.workload.traits import TraitMaker


class SyntheticColumns:
    """A ``ColumnSource`` of drawn requests; row n is drawn from streams at counter n, whatever the block size."""

    def __init__(self, config: SyntheticWorkload, part: int, stream: Stream) -> None:
        self._config = config
        self._times = build_arrivals(config.arrivals, stream.child("arrivals"), config.count)
        self._lengths = build_lengths(config.lengths, stream.child("lengths"))
        self._traits = TraitMaker(config.traits, part, stream.child("traits"))

    def columns(self) -> Iterator[Columns]:
        """Yield the blocks from the first on; every call starts over and gives the same."""
        first = 0
        clip = self._config.clip
        for arrival in limited_times(self._times, self._config.count, self._config.duration_s):
            prompt, output = self._lengths.draw(first, len(arrival))
            block = self._traits.decorate(Columns(arrival, prompt, output), first)
            first += len(arrival)
            if clip is not None:
                block = clip_block(block, clip, Counter())
            if len(block):
                yield block
