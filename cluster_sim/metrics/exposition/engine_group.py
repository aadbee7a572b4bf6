"""Engines whose series have the names of one server, with their sets of labels.

An engine is a replica or one of its data-parallel ranks, or in a large fleet a whole pool
(``metrics.live.EngineMembers``).  Sets of labels are made once
and stay the same objects, by which writers know what they have written before.
"""

from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from cluster_sim.metrics.exposition.family import HistogramPart, Labels, bound_texts
from cluster_sim.metrics.run_metadata import PoolMetadata
from cluster_sim.recording import buckets

Int64Array = npt.NDArray[np.int64]

Names = Literal["vllm", "sglang"]
"""Servers whose names engines' series can have."""
_NAMES_OF_ENGINES: Final[dict[str, Names]] = {"sglang": "sglang"}


def names_of(pool: PoolMetadata) -> Names:
    """Return the server whose names the series of a pool have by themselves; engines without own names have vLLM's."""
    return _NAMES_OF_ENGINES.get(pool.engine, "vllm")


class Engine(NamedTuple):
    """One engine."""

    name: str
    """The value of its label ``engine``."""
    row: int
    """Its row in a snapshot."""
    pool: PoolMetadata
    replica: int = -1
    """Number of its replica; below 0 if it is a whole pool."""
    is_rank: bool = False
    """Whether it is one of several data-parallel ranks."""


class EngineGroup:
    """Some engines, in the order of their series."""

    def __init__(self, engines: Sequence[Engine], labels: Sequence[Labels]) -> None:
        """``labels`` are those that every series of an engine has."""
        self.engines = list(engines)
        self.labels = list(labels)
        self.rows = np.array([engine.row for engine in engines], np.int64)
        self._labelled: dict[tuple[str, tuple[str, ...]], list[Labels]] = {}
        self._derived: dict[str, list[Labels]] = {}
        self._parts: dict[str, EngineGroup | None] = {}
        by_limit: dict[int, list[int]] = {}
        for place, engine in enumerate(engines):
            by_limit.setdefault(engine.pool.max_model_tokens, []).append(place)
        self._by_limit = [
            (buckets.one_two_five(limit), np.array(places, np.int64), [self.labels[place] for place in places])
            for limit, places in by_limit.items()
        ]

    def labelled(self, name: str, values: Sequence[str]) -> list[Labels]:
        """Return the labels of every engine with each of some values of one more, engine by engine."""
        key = name, tuple(values)
        if key not in self._labelled:
            self._labelled[key] = [labels.plus(**{name: value}) for labels in self.labels for value in values]
        return self._labelled[key]

    def derived(self, key: str, more: Callable[[Engine], dict[str, str]]) -> list[Labels]:
        """Return the labels of every engine with those that ``more`` gives, which never change, under ``key``."""
        if key not in self._derived:
            self._derived[key] = [
                labels.plus(**more(engine)) for engine, labels in zip(self.engines, self.labels, strict=True)
            ]
        return self._derived[key]

    def having(self, key: str, is_wanted: Callable[[PoolMetadata], bool]) -> "EngineGroup | None":
        """Return the engines of the pools that ``is_wanted``, under ``key``; None if there are none."""
        if key not in self._parts:
            places = [place for place, engine in enumerate(self.engines) if is_wanted(engine.pool)]
            engines, labels = [self.engines[place] for place in places], [self.labels[place] for place in places]
            self._parts[key] = EngineGroup(engines, labels) if places else None
        return self._parts[key]

    def histogram(
        self,
        counts: Int64Array,
        counted: Sequence[float],
        bounds: Sequence[float],
        sums: Sequence[float],
    ) -> list[HistogramPart]:
        """Return histograms of all engines, int64[engines of the group, counted + 1], on ``bounds``."""
        cumulative = buckets.cumulative(counts, counted, bounds)
        return [HistogramPart(bound_texts(bounds), self.labels, cumulative, sums)]

    def token_histogram(
        self, counts: Int64Array, counted: Sequence[float], sums: Sequence[float]
    ) -> list[HistogramPart]:
        """Return histograms of tokens on vLLM's boundaries, which end at the longest context of an engine."""
        return [
            HistogramPart(
                bound_texts(bounds),
                labels,
                buckets.cumulative(counts[places], counted, bounds),
                [sums[place] for place in places.tolist()],
            )
            for bounds, places, labels in self._by_limit
        ]
