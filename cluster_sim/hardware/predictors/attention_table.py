"""Measured attention of one layer: decodes alone, a prefill chunk alone, and both in one call.

Both together take longer than one after the other where FlashAttention 2 is used: with a prompt in the call every query
head of a decode fills a tile of its own, and reads the cache again.
"""

from collections.abc import Sequence

from cluster_sim.errors import InputError
from cluster_sim.hardware.predictors.grid import Curve, bracket, grid_of, interpolate
from cluster_sim.hardware.predictors.operator_profile import Measurement


class AttentionTable:
    """Measured attention of one layer, us: decodes alone, a chunk alone, and both together."""

    def __init__(self, rows: list[Measurement]) -> None:
        """Build the grids from the profile's ``attention`` rows; InputError when either kind is missing."""
        alone = [row for row in rows if row.decodes and not row.prefill_tokens]
        chunks = [row for row in rows if row.prefill_tokens and not row.decodes]
        if not alone or not chunks:
            raise InputError("the profile lacks attention of decodes alone or of prefill chunks alone")
        self.decode_batches, self.decode_kv, self.decode_us = grid_of(
            [(row.decodes, row.decode_kv_tokens, row.time_us) for row in alone], "decode attention"
        )
        self.chunk_tokens, self.chunk_kv, self.chunk_us = grid_of(
            [(row.prefill_tokens, row.prefill_kv_tokens, row.time_us) for row in chunks], "prefill attention"
        )
        self.empty_us = float(min(self.chunk_us.min(), self.decode_us.min()))
        together = [row for row in rows if row.prefill_tokens and row.decodes]
        self._mixed = _MeasurementTree.of([(_mixed_key(row), row.time_us) for row in together]) if together else None

    def has_decodes(self, decodes: int, mean_kv: float) -> bool:
        """Return whether the number of decodes and their mean cache lie in the grid."""
        return decodes <= self.decode_batches[-1] and mean_kv <= self.decode_kv[-1]

    def has_chunk(self, tokens: int, kv: int) -> bool:
        """Return whether a prefill chunk and its cache lie in the grid."""
        return tokens <= self.chunk_tokens[-1] and kv <= self.chunk_kv[-1]

    def has_mixed(self, tokens: int, kv: int, decodes: int, mean_kv: float) -> bool:
        """Return whether a prefill chunk lies in its grid, and with the decodes in that of both, if there is one."""
        if not self.has_chunk(tokens, kv):
            return False
        if self._mixed is None:
            return True
        keys = (tokens, kv, decodes, mean_kv)
        return all(key <= end for key, end in zip(keys, self._mixed.last, strict=True))

    def decode_curve(self, decodes: int) -> Curve:
        """Return the time over the mean cache for ``decodes`` requests."""
        lower, upper, weight = bracket(self.decode_batches, decodes)
        values = self.decode_us[lower] + (self.decode_us[upper] - self.decode_us[lower]) * weight
        if decodes > self.decode_batches[-1]:
            values = values * (decodes / self.decode_batches[-1])
        return Curve(self.decode_kv, values.tolist())

    def chunk(self, tokens: int, kv: int) -> float:
        """Return the time of a prefill chunk over its cache."""
        us = interpolate(self.chunk_tokens, self.chunk_kv, self.chunk_us, tokens, kv)
        if self.has_chunk(tokens, kv):
            return us
        clamped_tokens, clamped_kv = min(tokens, self.chunk_tokens[-1]), min(kv, self.chunk_kv[-1])
        return us * (tokens * (kv + tokens / 2)) / (clamped_tokens * (clamped_kv + clamped_tokens / 2))

    def mixed(self, tokens: int, kv: int, decodes: int, decode_us: float, mean_kv: float) -> float:
        """Return the time of one chunk together with decodes.

        ``decode_us`` is the time of the decodes alone.  Beyond the grid the edge is scaled as the sum of the two alone
        grows; a profile without measurements of both together has that sum.
        """
        chunk_us = self.chunk(tokens, kv)
        if self._mixed is None:
            return chunk_us + decode_us
        keys = (tokens, kv, decodes, mean_kv)
        together = self._mixed.interpolate(keys)
        last = self._mixed.last
        if any(key > end for key, end in zip(keys, last, strict=True)):
            edge_chunk_us = self.chunk(int(min(tokens, last[0])), int(min(kv, last[1])))
            edge_curve = self.decode_curve(int(min(decodes, last[2])))
            together *= (chunk_us + decode_us) / (edge_chunk_us + edge_curve(min(mean_kv, last[3])))
        return max(together, chunk_us, decode_us)


def _mixed_key(row: Measurement) -> tuple[float, ...]:
    return float(row.prefill_tokens), float(row.prefill_kv_tokens), float(row.decodes), float(row.decode_kv_tokens)


class _MeasurementTree:
    """Measurements over several keys, interpolated key by key, each over the values measured beside those before it.

    A profile may hold grids laid over one another, whose union is none: beside each chunk there are the caches that
    were measured with it, and so on.  Keys beyond the measured ones are clamped.
    """

    __slots__ = ("_children", "_knots", "_times_us", "last")

    def __init__(
        self, knots: list[float], children: list["_MeasurementTree"], times_us: list[float], last: tuple[float, ...]
    ) -> None:
        self._knots, self._children, self._times_us, self.last = knots, children, times_us, last

    @classmethod
    def of(cls, rows: Sequence[tuple[tuple[float, ...], float]]) -> "_MeasurementTree":
        """Build the tree of ``rows``, pairs of as many keys each and a time."""
        last = tuple(max(key[axis] for key, _ in rows) for axis in range(len(rows[0][0])))
        if len(last) == 1:
            pairs = sorted((key[0], us) for key, us in rows)
            return cls([key for key, _ in pairs], [], [us for _, us in pairs], last)
        groups: dict[float, list[tuple[tuple[float, ...], float]]] = {}
        for key, us in rows:
            groups.setdefault(key[0], []).append((key[1:], us))
        knots = sorted(groups)
        return cls(knots, [cls.of(groups[knot]) for knot in knots], [], last)

    def interpolate(self, keys: tuple[float, ...]) -> float:
        """Return the interpolated time at as many keys as the tree is deep."""
        lower, upper, weight = bracket(self._knots, keys[0])
        if self._times_us:
            return self._times_us[lower] + (self._times_us[upper] - self._times_us[lower]) * weight
        low = self._children[lower].interpolate(keys[1:])
        return low + (self._children[upper].interpolate(keys[1:]) - low) * weight if weight else low
