"""Client profiles that do not converse: each arrival belongs to a profile drawn by share."""

from collections.abc import Iterator

import numpy as np

from cluster_sim.workload.arrivals import build_arrivals
from cluster_sim.workload.columns import Columns, concatenate
from cluster_sim.workload.lengths import build_lengths
from cluster_sim.workload.limits import limited_times
from cluster_sim.workload.options import ClientsWorkload
from cluster_sim.workload.sampling.random_streams import Ints, Stream
from cluster_sim.workload.session_plans import shape_of_profile
from cluster_sim.workload.traits import TraitMaker


class ClientsColumns:
    """A ``ColumnSource``; a profile's draws are keyed by its own arrivals' numbers."""

    def __init__(self, config: ClientsWorkload, first_part: int, stream: Stream) -> None:
        self._config = config
        self._times = build_arrivals(config.arrivals, stream.child("arrivals"), config.count)
        shares = np.asarray([profile.share for profile in config.profiles])
        self._edges = np.cumsum(shares) / shares.sum()
        self._pick_stream = stream.child("profile")
        streams = [stream.child("client", profile.name) for profile in config.profiles]
        shapes = [shape_of_profile(profile) for profile in config.profiles]
        self._lengths = [
            build_lengths(shape.lengths, one.child("lengths")) for shape, one in zip(shapes, streams, strict=True)
        ]
        self._traits = [
            TraitMaker(shape.traits, first_part + index, one.child("traits"))
            for index, (shape, one) in enumerate(zip(shapes, streams, strict=True))
        ]

    def columns(self) -> Iterator[Columns]:
        """Yield the blocks from the first on; every call starts over and gives the same."""
        first = 0
        made = [0] * len(self._lengths)
        for arrival in limited_times(self._times, self._config.count, self._config.duration_s):
            picks = np.searchsorted(self._edges, self._pick_stream.uniforms(first, len(arrival)), side="left")
            picks = np.minimum(picks, len(self._lengths) - 1)
            first += len(arrival)
            parts: list[Columns] = []
            places: list[Ints] = []
            for index, (lengths, traits) in enumerate(zip(self._lengths, self._traits, strict=True)):
                rows = np.flatnonzero(picks == index)
                if len(rows):
                    prompt, output = lengths.draw(made[index], len(rows))
                    parts.append(traits.decorate(Columns(arrival[rows], prompt, output), made[index]))
                    places.append(rows)
                    made[index] += len(rows)
            yield concatenate(parts).rows(np.argsort(np.concatenate(places), kind="stable"))
