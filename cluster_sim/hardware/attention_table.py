"""Measured attention of one layer: decodes alone, a prefill chunk alone, and both in one call."""

from cluster_sim.config.errors import InputError
from cluster_sim.hardware.grid import Curve, bracket, grid_of, interpolate
from cluster_sim.hardware.operator_profile import Measurement


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
        self._mixed = _MixedGrid([row for row in rows if row.prefill_tokens and row.decodes])

    def decode_curve(self, decodes: int) -> tuple[Curve, bool]:
        """Return (time over the mean cache for ``decodes`` requests, whether that count lies in the grid)."""
        lower, upper, weight = bracket(self.decode_batches, decodes)
        values = self.decode_us[lower] + (self.decode_us[upper] - self.decode_us[lower]) * weight
        if decodes > self.decode_batches[-1]:
            values = values * (decodes / self.decode_batches[-1])
        return Curve(self.decode_kv, values.tolist()), decodes <= self.decode_batches[-1]

    def chunk(self, tokens: int, kv: int) -> tuple[float, bool]:
        """Return (time of a prefill chunk over its cache, whether both keys lie in the grid)."""
        us = interpolate(self.chunk_tokens, self.chunk_kv, self.chunk_us, tokens, kv)
        last_tokens, last_kv = self.chunk_tokens[-1], self.chunk_kv[-1]
        if tokens <= last_tokens and kv <= last_kv:
            return us, True
        clamped_tokens, clamped_kv = min(tokens, last_tokens), min(kv, last_kv)
        return us * (tokens * (kv + tokens / 2)) / (clamped_tokens * (clamped_kv + clamped_tokens / 2)), False

    def mixed(self, tokens: int, kv: int, decodes: int, decode_us: float, mean_kv: float) -> tuple[float, bool]:
        """Return (time of one chunk together with decodes, whether the keys lie in the grid).

        ``decode_us`` is the time of the decodes alone, taken where the mixed grid was not measured.
        """
        chunk_us, is_inside = self.chunk(tokens, kv)
        together = self._mixed.at(tokens, kv, decodes, mean_kv)
        if together is None or not is_inside:
            return chunk_us + decode_us, False if self._mixed.is_present else is_inside
        return max(together, chunk_us, decode_us), True


class _MixedGrid:
    """The four-dimensional grid of one chunk together with decodes, on the axes where it was measured in full."""

    def __init__(self, rows: list[Measurement]) -> None:
        self.is_present = bool(rows)
        self._axes: list[list[float]] = []
        if not rows:
            return
        keys = [(row.prefill_tokens, row.prefill_kv_tokens, row.decodes, row.decode_kv_tokens) for row in rows]
        self._axes = [[float(value) for value in sorted({key[axis] for key in keys})] for axis in range(4)]
        self._cells: dict[tuple[int, ...], float] = {}
        places = [{value: index for index, value in enumerate(axis)} for axis in self._axes]
        for key, row in zip(keys, rows, strict=True):
            self._cells[tuple(places[axis][float(value)] for axis, value in enumerate(key))] = row.time_us

    def at(self, tokens: int, kv: int, decodes: int, mean_kv: float) -> float | None:
        """Return the interpolated time, or None where a corner was not measured or a key lies outside."""
        if not self.is_present:
            return None
        corners: list[tuple[tuple[int, ...], float]] = [((), 1.0)]
        for axis, value in zip(self._axes, (tokens, kv, decodes, mean_kv), strict=True):
            if value > axis[-1]:
                return None
            lower, upper, weight = bracket(axis, value)
            grown = [((*place, lower), share * (1.0 - weight)) for place, share in corners]
            if weight:
                grown += [((*place, upper), share * weight) for place, share in corners]
            corners = grown
        total = 0.0
        for place, share in corners:
            us = self._cells.get(place)
            if us is None:
                return None
            total += us * share
        return total
