"""Choices by popularity: one of many by Zipf's law, and a path through a tree of shared prefixes."""

from typing import Final

import numpy as np

from cluster_sim.workload.sampling.random_streams import Floats, Ints, Stream, stable_id
from cluster_sim.workload.traits.trait_options import SharedPrefix

_CACHED_PATHS: Final = 100_000


class ZipfChoice:
    """One of ``count`` things, the i-th (from 1) in proportion to i ** -``zipf_alpha``; 0 makes all alike."""

    def __init__(self, count: int, zipf_alpha: float) -> None:
        weights = np.arange(1, count + 1, dtype=np.float64) ** -zipf_alpha
        self._edges: Floats = np.cumsum(weights) / weights.sum()

    def pick(self, u: Floats) -> Ints:
        """Return the places, from 0, that uniform numbers stand for."""
        places: Ints = np.minimum(np.searchsorted(self._edges, u, side="left"), len(self._edges) - 1).astype(np.int64)
        return places


class PrefixTree:
    """Chooses a path through the tree of shared prefixes for each index.

    Trees of the same name are one, whatever ``part`` of the workload draws from them.
    """

    def __init__(self, config: SharedPrefix, part: str, stream: Stream) -> None:
        self._levels = config.levels
        self._tree = config.name or f"\x01{part}"
        self._choices = [ZipfChoice(level.count, level.zipf_alpha) for level in config.levels]
        self._streams = [stream.child("prefix", str(depth)) for depth in range(len(config.levels))]
        self._known: dict[tuple[int, ...], tuple[tuple[int, int], ...]] = {}

    def paths(self, first: int, count: int) -> list[tuple[tuple[int, int], ...]]:
        """Return the segments, (id, tokens) from the root, of indices ``first`` to ``first + count - 1``."""
        picks = [
            choice.pick(stream.uniforms(first, count)).tolist()
            for choice, stream in zip(self._choices, self._streams, strict=True)
        ]
        return [self._segments(path) for path in zip(*picks, strict=True)]

    def _segments(self, path: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
        segments = self._known.get(path)
        if segments is None:
            segments = tuple(
                (stable_id("prefix", self._tree, *path[: depth + 1]), level.tokens)
                for depth, level in enumerate(self._levels)
            )
            if len(self._known) < _CACHED_PATHS:
                self._known[path] = segments
        return segments
