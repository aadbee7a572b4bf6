"""Step times from an operator profile: measured kernels, composed and interpolated.

Design: a stage of L layers takes L (layer operators(n) + experts(n) + all-reduces(n)) + step operators(n) + sequence
operators(s) + L attention + constants of the engine.  Everything by tokens or sequences becomes one curve when the
predictor is built; the experts' curve is taken at the expected number of activated experts.  Decode attention of B
requests is a curve over their mean cache, interpolated between the measured batch sizes, so a decode step is two
lookups and ``decode_run_ns`` is the same arithmetic on arrays.  Attention of a mixed step is the measured mixed grid
for the largest chunk, and the further chunks' own time beyond an empty call.  A profile without head and sampler, or
without the all-reduces that its degree needs, gets them from the roofline.  A step with any key beyond its grid is
scaled by the ratio of work and counted as extrapolated.
"""

from dataclasses import dataclass

import numpy as np

from cluster_sim.config.errors import InputError
from cluster_sim.hardware.device import Device
from cluster_sim.hardware.grid import Curve, Float64Array, bracket, envelope
from cluster_sim.hardware.model import Model
from cluster_sim.hardware.operator_profile import Measurement, OperatorProfile
from cluster_sim.hardware.predictor import BatchShape, Int64Array, Predictor
from cluster_sim.hardware.roofline import RooflinePredictor
from cluster_sim.hardware.sharding import check_parallelism


@dataclass(frozen=True, slots=True)
class Overheads:
    """What kernels do not contain: the engine's own time."""

    step_us: float = 0.0
    layer_us: float = 0.0
    sequence_us: float = 0.0
    frontend_us: float = 0.0
    frontend_us_per_token: float = 0.0


class AttentionTable:
    """Measured attention of one layer, us: decodes alone, a chunk alone, and both together."""

    def __init__(self, rows: list[Measurement]) -> None:
        """Build the grids from the profile's ``attention`` rows; InputError when either kind is missing."""
        alone = [row for row in rows if row.decodes and not row.prefill_tokens]
        chunks = [row for row in rows if row.prefill_tokens and not row.decodes]
        if not alone or not chunks:
            raise InputError("the profile lacks attention of decodes alone or of prefill chunks alone")
        self.decode_batches, self.decode_kv, self.decode_us = _grid2(
            [(row.decodes, row.decode_kv_tokens, row.time_us) for row in alone], "decode attention"
        )
        self.chunk_tokens, self.chunk_kv, self.chunk_us = _grid2(
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
        us = _interpolate2(self.chunk_tokens, self.chunk_kv, self.chunk_us, tokens, kv)
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


class TablePredictor(Predictor):
    """Step times from one operator profile; a pure function of its arguments."""

    def __init__(
        self,
        profile: OperatorProfile,
        model: Model,
        device: Device,
        tensor_parallel: int = 1,
        pipeline_parallel: int = 1,
        overheads: Overheads | None = None,
    ) -> None:
        """Raise InputError when the profile is of another device, model or degree, or lacks what the model needs."""
        super().__init__()
        check_parallelism(model, tensor_parallel, pipeline_parallel)
        _check_identity(profile, model, device, tensor_parallel)
        overheads = overheads or Overheads()
        self.stages = pipeline_parallel
        self.is_calibrated = True
        self.label = f"operator tables ({profile.info.source or profile.path})"
        self.frontend_ns = round(overheads.frontend_us * 1e3)
        self.frontend_ns_per_token = overheads.frontend_us_per_token * 1e3
        self._layers = model.num_hidden_layers // pipeline_parallel
        self._overheads = overheads
        self._attention = AttentionTable(profile.of("attention"))
        self._link = _sum_curve(profile, ("send_recv",), "tokens")
        self._device, self._model = device, model
        last = pipeline_parallel - 1
        roofline = RooflinePredictor(model, device, tensor_parallel)
        layer_us = _tokens_curve(profile, model, tensor_parallel, roofline)
        step = _sum_curve(profile, _named(profile, "step."), "tokens")
        sequence = _sum_curve(profile, _named(profile, "sequence."), "sequences") or _head_curve(roofline)
        self._last_tokens, self._last_sequences = layer_us.last_knot, sequence.last_knot
        self._token_curve = layer_us
        self._step_curve = step
        self._sequence_curve = sequence
        self._last = last
        self._tokens_us: dict[tuple[int, int], float] = {}
        self._decode: dict[tuple[int, int], tuple[float, Curve, bool]] = {}

    def step_ns(self, shape: BatchShape, stage: int = 0) -> int:
        """Return the duration of one step of ``stage`` in ns."""
        if not shape.prefills and not shape.draft_tokens:
            base, curve, is_inside = self._decode_entry(shape.decodes, stage)
            mean = float(shape.decode_kv_tokens) / (shape.decodes or 1)
            self._count(1, is_inside and mean <= curve.last_knot)
            return max(1, round(curve(mean) * self._layers * 1e3 + base))
        us, is_inside = self._mixed_us(shape, stage)
        self._count(1, is_inside)
        return max(1, round(us * 1e3))

    def decode_run_ns(self, decodes: int, kv_tokens: int, steps: int, stage: int = 0) -> Int64Array:
        """Return the durations of ``steps`` consecutive decode-only steps, int64[steps]."""
        base, curve, is_inside = self._decode_entry(decodes, stage)
        mean = np.arange(steps, dtype=np.float64) * decodes
        mean += kv_tokens
        mean /= decodes
        beyond = int(np.count_nonzero(mean > curve.last_knot)) if is_inside else steps
        self.coverage.inside += steps - beyond
        self.coverage.extrapolated += beyond
        ns = curve.many(mean)
        ns *= self._layers
        ns *= 1e3
        ns += base
        np.rint(ns, ns)
        return np.maximum(ns.astype(np.int64), 1)

    def floor_ns(self, stage: int = 0) -> int:
        """Return the time of one token and one sequence with the cheapest attention call that was measured."""
        return max(1, round(self._attention.empty_us * self._layers * 1e3 + self._base_us(1, 1, stage) * 1e3) - 1)

    def stage_link_ns(self, tokens: int, stage: int) -> int:  # noqa: ARG002
        """Return the measured send, or without one the link's latency and bandwidth."""
        if self._link is not None:
            return round(self._link(tokens) * 1e3)
        link = self._device.interconnect
        return round(link.latency_us * 1e3 + tokens * self._model.hidden_size * 2 / link.bandwidth_bytes_per_s * 1e9)

    def _base_us(self, tokens: int, sequences: int, stage: int) -> float:
        """Everything but attention, us."""
        overheads = self._overheads
        us = self._layers * (self._token_curve(tokens) + overheads.layer_us) + overheads.step_us
        if stage == 0 and self._step_curve is not None:
            us += self._step_curve(tokens)
        if stage == self._last:
            us += self._sequence_curve(sequences) + sequences * overheads.sequence_us
        return us

    def _decode_entry(self, decodes: int, stage: int) -> tuple[float, Curve, bool]:
        entry = self._decode.get((decodes, stage))
        if entry is None:
            count = max(decodes, 1)
            curve, is_inside = self._attention.decode_curve(count)
            is_inside = is_inside and count <= min(self._last_tokens, self._last_sequences)
            entry = self._base_us(count, count, stage) * 1e3, curve, is_inside
            self._decode[decodes, stage] = entry
        return entry

    def _mixed_us(self, shape: BatchShape, stage: int) -> tuple[float, bool]:
        tokens, sequences = shape.tokens, shape.decodes + shape.draft_tokens + len(shape.prefills)
        is_inside = tokens <= self._last_tokens and sequences <= self._last_sequences
        decode_us, mean = 0.0, 0.0
        if shape.decodes:
            _, curve, is_known = self._decode_entry(shape.decodes + shape.draft_tokens, stage)
            mean = float(shape.decode_kv_tokens) / shape.decodes
            decode_us = curve(mean)
            is_inside = is_inside and is_known and mean <= curve.last_knot
        chunks = sorted(shape.prefills, key=lambda chunk: chunk[0] * (chunk[1] + chunk[0]), reverse=True)
        attention_us = decode_us
        if chunks:
            first, kv = chunks[0]
            if shape.decodes:
                attention_us, is_known = self._attention.mixed(first, kv, shape.decodes, decode_us, mean)
            else:
                attention_us, is_known = self._attention.chunk(first, kv)
            is_inside = is_inside and is_known
        for tokens_further, kv in chunks[1:]:
            us, is_known = self._attention.chunk(tokens_further, kv)
            attention_us += max(0.0, us - self._attention.empty_us)
            is_inside = is_inside and is_known
        return self._base_us(max(tokens, 1), max(sequences, 1), stage) + attention_us * self._layers, is_inside

    def _count(self, steps: int, is_inside: bool) -> None:
        if is_inside:
            self.coverage.inside += steps
        else:
            self.coverage.extrapolated += steps


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


def _grid2(points: list[tuple[int, int, float]], what: str) -> tuple[list[float], list[float], Float64Array]:
    """A grid over the two keys, non-decreasing in both; missing cells are filled along the second key, then the first.

    Raises InputError when a row of the grid has no point at all.
    """
    rows = [float(value) for value in sorted({point[0] for point in points})]
    columns = [float(value) for value in sorted({point[1] for point in points})]
    if not rows or not columns:
        raise InputError(f"the profile has no {what}")
    table = np.full((len(rows), len(columns)), np.nan)
    for row, column, us in points:
        table[rows.index(row), columns.index(column)] = us
    for index, values in enumerate(table):
        known = ~np.isnan(values)
        last = int(np.nonzero(known)[0][-1])
        table[index, : last + 1] = np.interp(columns[: last + 1], np.array(columns)[known], values[known])
        for column_index in range(last + 1, len(columns)):
            scale = columns[column_index] / columns[last] if columns[last] else 1.0
            table[index, column_index] = table[index, last] * scale
    return rows, columns, envelope(envelope(table, 0), 1)


def _interpolate2(rows: list[float], columns: list[float], table: Float64Array, x: float, y: float) -> float:
    x0, x1, wx = bracket(rows, x)
    y0, y1, wy = bracket(columns, y)
    low = table[x0, y0] + (table[x0, y1] - table[x0, y0]) * wy
    high = table[x1, y0] + (table[x1, y1] - table[x1, y0]) * wy
    return float(low + (high - low) * wx)


def _named(profile: OperatorProfile, prefix: str) -> tuple[str, ...]:
    return tuple(name for name in profile.operators if name.startswith(prefix))


def _sum_curve(profile: OperatorProfile, operators: tuple[str, ...], key: str) -> Curve | None:
    """The sum of operators over one key, each interpolated and counted; None when there are none."""
    curves: list[tuple[Curve, int]] = []
    for operator in operators:
        rows = profile.of(operator)
        if rows:
            curves.append((Curve([getattr(row, key) for row in rows], [row.time_us for row in rows]), rows[0].count))
    if not curves:
        return None
    knots = sorted({knot for curve, _ in curves for knot in curve.knots.tolist()})
    return Curve(knots, [sum(curve(knot) * count for curve, count in curves) for knot in knots])


def _head_curve(roofline: RooflinePredictor) -> Curve:
    """The head and sampler by the roofline, for profiles that have none."""
    knots = [1 << power for power in range(11)]
    return Curve(knots, [roofline.sequences_cost(knot, 0) * 1e-3 for knot in knots])


def _tokens_curve(profile: OperatorProfile, model: Model, tensor_parallel: int, roofline: RooflinePredictor) -> Curve:
    """One layer without attention over the tokens: layer operators, experts, all-reduces (else by the roofline)."""
    names = _named(profile, "layer.") + (("all_reduce",) if tensor_parallel > 1 else ())
    dense = _sum_curve(profile, names, "tokens")
    if dense is None:
        raise InputError(f"{profile.path}: has no layer operators")
    if tensor_parallel > 1 and "all_reduce" not in profile.operators:
        reduced = [dense(knot) + roofline.layer_all_reduce_us(int(knot)) for knot in dense.knots.tolist()]
        dense = Curve(dense.knots.tolist(), reduced)
    experts = profile.of("moe")
    if not model.is_moe or "layer.experts" in names:
        return dense
    if not experts:
        raise InputError(f"{profile.path}: has no moe rows, which {model.name} needs")
    tokens, activated, table = _grid2([(row.tokens, row.experts, row.time_us) for row in experts], "moe operators")
    share = model.moe_layers / model.num_hidden_layers
    knots = sorted(set(dense.knots.tolist()) | set(tokens))

    def experts_us(count: float) -> float:
        expected = model.experts * (1.0 - (1.0 - model.num_experts_per_tok / model.experts) ** count)
        us = _interpolate2(tokens, activated, table, count, expected)
        return us * count / tokens[-1] if count > tokens[-1] else us

    return Curve(knots, [dense(knot) + share * experts_us(knot) for knot in knots])


def _check_identity(profile: OperatorProfile, model: Model, device: Device, tensor_parallel: int) -> None:
    info = profile.info
    for what, found, wanted in (
        ("device", info.device, device.name),
        ("model", info.model, model.name),
        ("tensor_parallel", info.tensor_parallel, tensor_parallel),
    ):
        if found != wanted:
            raise InputError(f"{profile.path or 'profile'}: was measured with {what} {found}, not {wanted}")
