"""Views of an operator profile: a table of its operators, and a page that plots it against a prediction.

Design: every measured row is held against a predicted time - the data sheet's roofline for that operator, or the same
operator of another profile at the same key - so the table's ratio says how far kernels are from the ideal, or two
profiles from each other.  The page is one file of HTML with inline SVG: no scripts, no network.
"""

import html
import math
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from cluster_sim.atomic_file import whole_file
from cluster_sim.hardware.device import Device
from cluster_sim.hardware.engine_settings import default_settings
from cluster_sim.hardware.model import Model
from cluster_sim.hardware.predictors.operator_profile import KEYS, Measurement, OperatorProfile
from cluster_sim.hardware.replica_hardware import ReplicaHardware
from cluster_sim.hardware.sharding import shard

SIZE = 260
MARGIN = 34


@dataclass(frozen=True, slots=True)
class OperatorSummary:
    """One line of the table."""

    operator: str
    rows: int
    keys: str
    """Ranges of the keys that vary."""
    shortest_us: float
    longest_us: float
    ratio: float | None
    """Median of measured over predicted; None without a prediction."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Measured and predicted times of one operator, us."""

    operator: str
    points: tuple[tuple[float, float], ...]


def summarise(profile: OperatorProfile, comparisons: list[Comparison]) -> list[OperatorSummary]:
    """Return one line per operator, sorted by name."""
    ratios = {item.operator: median(m / p for m, p in item.points) for item in comparisons if item.points}
    lines = []
    for operator in profile.operators:
        rows = profile.of(operator)
        ranges = []
        for index, key in enumerate(KEYS):
            values = {row.key[index] for row in rows}
            if len(values) > 1:
                ranges.append(f"{key} {min(values)}..{max(values)}")
        times = [row.time_us for row in rows]
        lines.append(
            OperatorSummary(operator, len(rows), ", ".join(ranges), min(times), max(times), ratios.get(operator))
        )
    for item in comparisons:
        if item.operator not in profile.operators and item.points:
            times = [measured for measured, _ in item.points]
            ratio = ratios[item.operator]
            lines.append(OperatorSummary(item.operator, len(times), "", min(times), max(times), ratio))
    return lines


def against_roofline(profile: OperatorProfile, model: Model, device: Device) -> list[Comparison]:
    """Hold attention and the sum of the layer operators against the data sheet."""
    part = shard(ReplicaHardware(model, device, default_settings(device), profile.info.tensor_parallel))
    bandwidth, peak = device.memory_bandwidth_bytes_per_s, device.peak_flops(model.activation_dtype)
    per_token, per_pair = part.kv_bytes_per_token / part.layers, part.attention_flops_per_pair / part.layers

    def attention(row: Measurement) -> float:
        pairs = row.prefill_tokens * (row.prefill_kv_tokens + 0.5 * row.prefill_tokens)
        cached = row.decodes * row.decode_kv_tokens
        return max(cached * per_token / bandwidth + pairs * per_pair / peak, 1e-7) * 1e6

    totals: dict[int, float] = {}
    layers = [name for name in profile.operators if name.startswith("layer.")]
    counts: dict[int, int] = {}
    for name in layers:
        for row in profile.of(name):
            totals[row.tokens] = totals.get(row.tokens, 0.0) + row.time_us * row.count
            counts[row.tokens] = counts.get(row.tokens, 0) + 1
    weights, operations = part.dense_weight_bytes / part.layers, part.flops_per_token / part.layers
    points = tuple(
        (us, max(weights / bandwidth, tokens * operations / peak) * 1e6)
        for tokens, us in sorted(totals.items())
        if counts[tokens] == len(layers)
    )
    measured = tuple((row.time_us, attention(row)) for row in profile.of("attention") if row.time_us > 0)
    return [Comparison("attention", measured), Comparison("layer operators", points)]


def against_profile(profile: OperatorProfile, other: OperatorProfile) -> list[Comparison]:
    """Hold each row against the other profile's row of the same operator and key."""
    times = {(row.operator, row.key): row.time_us for row in other.rows}
    return [
        Comparison(
            operator,
            tuple(
                (row.time_us, times[operator, row.key])
                for row in profile.of(operator)
                if row.time_us > 0 and times.get((operator, row.key), 0.0) > 0
            ),
        )
        for operator in profile.operators
    ]


def write_page(profile: OperatorProfile, comparisons: list[Comparison], predicted: str, path: Path) -> None:
    """Write the HTML page, whole or not at all; InputError when it cannot be written."""
    info = profile.info
    title = f"{info.model} on {info.device}, TP{info.tensor_parallel}"
    rows = "".join(
        f"<tr><td>{html.escape(line.operator)}</td><td>{line.rows}</td><td>{html.escape(line.keys)}</td>"
        f"<td>{line.shortest_us:.4g}</td><td>{line.longest_us:.4g}</td>"
        f"<td>{'' if line.ratio is None else f'{line.ratio:.3g}'}</td></tr>"
        for line in summarise(profile, comparisons)
    )
    plots = "".join(_scatter(item) for item in comparisons if item.points) + _coverage(profile)
    text = (
        f"<!doctype html><meta charset='utf-8'><title>{html.escape(title)} - cluster_sim</title>"
        "<style>body{font:14px sans-serif;margin:2em}td,th{padding:2px 10px;text-align:right}"
        "td:first-child,td:nth-child(3){text-align:left}svg{margin:8px;background:#fafafa}</style>"
        f"<h1>{html.escape(title)}</h1><p>{html.escape(info.source)}. Measured times (us) against "
        f"{html.escape(predicted)}; the last column is the median of measured over predicted.</p>"
        "<table><tr><th>operator<th>rows<th>keys<th>shortest us<th>longest us<th>ratio</tr>"
        f"{rows}</table>{plots}\n"
    )
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _scatter(item: Comparison) -> str:
    """Return predicted over measured on logarithmic axes, with the diagonal."""
    values = [value for point in item.points for value in point]
    low, high = math.log10(min(values)), math.log10(max(values))
    span = max(high - low, 1e-9)

    def place(value: float) -> float:
        return MARGIN + (math.log10(value) - low) / span * (SIZE - 2 * MARGIN)

    dots = "".join(
        f"<circle cx='{place(measured):.1f}' cy='{SIZE - place(predicted):.1f}' r='1.6'/>"
        for measured, predicted in item.points
    )
    return _frame(
        f"{item.operator}: predicted over measured, us",
        f"<line x1='{MARGIN}' y1='{SIZE - MARGIN}' x2='{SIZE - MARGIN}' y2='{MARGIN}' stroke='#999'/>"
        f"<g fill='#1f6feb' fill-opacity='.5'>{dots}</g>"
        f"<text x='{MARGIN}' y='{SIZE - 8}'>{10**low:.3g}</text>"
        f"<text x='{SIZE - MARGIN}' y='{SIZE - 8}' text-anchor='end'>{10**high:.3g}</text>",
    )


def _coverage(profile: OperatorProfile) -> str:
    """Return the measured grid of decode attention: batch over cached tokens, both logarithmic."""
    cells = [(row.decodes, row.decode_kv_tokens) for row in profile.of("attention") if not row.prefill_tokens]
    if not cells:
        return ""
    most = [math.log2(max(cell[axis] for cell in cells) + 1) or 1.0 for axis in (0, 1)]

    def place(value: int, axis: int) -> float:
        return MARGIN + math.log2(value + 1) / most[axis] * (SIZE - 2 * MARGIN)

    dots = "".join(
        f"<circle cx='{place(kv, 1):.1f}' cy='{SIZE - place(batch, 0):.1f}' r='1.6'/>" for batch, kv in cells
    )
    return _frame("grid of decode attention: requests over cached tokens", f"<g fill='#2da44e'>{dots}</g>")


def _frame(title: str, content: str) -> str:
    inner = SIZE - 2 * MARGIN
    return (
        f"<svg width='{SIZE}' height='{SIZE}' font-size='10'><text x='8' y='16'>{html.escape(title)}</text>"
        f"<rect x='{MARGIN}' y='{MARGIN}' width='{inner}' height='{inner}' fill='none' stroke='#ccc'/>{content}</svg>"
    )
