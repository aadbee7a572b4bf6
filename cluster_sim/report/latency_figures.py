"""Charts of latencies: distributions, over the time of arrival, against the length of the prompt."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cluster_sim.recording.buckets import TOKEN_GAP_S
from cluster_sim.report.page.axes import linear_axis, log_axis, time_axis
from cluster_sim.report.page.line_chart import Limit, Line, LineChart
from cluster_sim.report.result_tables import duration_text

FloatArray = npt.NDArray[np.float64]
Columns = dict[str, FloatArray]
"""Columns of ``requests.parquet`` as float64, NaN for null."""

MAX_WINDOWS: Final = 120
"""Windows over which percentiles over time are taken."""
_CURVE_POINTS: Final = 300
_MOST_POINTS: Final = 1200
_MOST_BINS: Final = 32
_LEAST_IN_BIN: Final = 20
_LEAST_S: Final = 1e-6
"""Shortest time on a logarithmic axis."""

_NAMES: Final = {"ttft_s": "first token", "e2e_s": "end to end", "queue_s": "queue", "tpot_s": "per output token"}


def latency_figures(columns: Columns, gap_counts: FloatArray, summary: dict[str, Any]) -> list[LineChart]:
    """Return every chart that there are finished requests for; ``gap_counts`` counts token gaps by bucket."""
    figures = [
        distribution(columns, ("ttft_s", "e2e_s", "queue_s"), summary, "Latency of requests"),
        token_distribution(columns, gap_counts, summary),
        ttft_over_time(columns, summary),
        ttft_by_prompt(columns),
    ]
    return [figure for figure in figures if figure is not None]


def distribution(columns: Columns, keys: Sequence[str], summary: dict[str, Any], title: str) -> LineChart | None:
    """Return the share of finished requests at or below each latency; None without any."""
    lines = [
        Line(_NAMES[key], *_curve(columns[key]), color) for color, key in enumerate(keys, 1) if _is_known(columns[key])
    ]
    return _distribution(title, lines, [(key, color) for color, key in enumerate(keys, 1)], summary)


def token_distribution(columns: Columns, gap_counts: FloatArray, summary: dict[str, Any]) -> LineChart | None:
    """Return the distributions of times per token: means of requests, and single gaps by bucket."""
    lines = []
    if _is_known(columns["tpot_s"]):
        lines.append(Line("per output token (TPOT)", *_curve(columns["tpot_s"]), 4))
    if summary["itl_s"]["count"]:
        lines.append(Line("between tokens (ITL)", *_gap_curve(gap_counts, summary["itl_s"]), 5, is_dashed=True))
    return _distribution("Time per token", lines, [("tpot_s", 4), ("itl_s", 5)], summary)


def _gap_curve(gap_counts: FloatArray, figures: dict[str, Any]) -> tuple[FloatArray, FloatArray]:
    """Return the distribution of token gaps: the percentiles of the summary, and the buckets between them."""
    known = [(figures["min"], 0.0), *((figures[f"p{q}"], q / 100) for q in (50, 90, 95, 99)), (figures["max"], 1.0)]
    if gap_counts.sum():
        shares = np.cumsum(gap_counts)[:-1] / gap_counts.sum()
        known += [
            (bound, share)
            for bound, share in zip(TOKEN_GAP_S, shares.tolist(), strict=True)
            if figures["min"] < bound < figures["max"]
        ]
    x, y = np.array(sorted(known), np.float64).T
    return x, np.maximum.accumulate(y)


def overlaid_distribution(title: str, named: Sequence[tuple[str, FloatArray]]) -> LineChart | None:
    """Return the distributions of one latency in several runs."""
    lines = [
        Line(name, *_curve(values), color, is_dashed=color > 1)
        for color, (name, values) in enumerate(named, 1)
        if _is_known(values)
    ]
    return _distribution(title, lines, [], None)


def _distribution(
    title: str, lines: list[Line], colors: list[tuple[str, int]], summary: dict[str, Any] | None
) -> LineChart | None:
    positive = [line.x[line.x > 0] for line in lines]
    positive = [values for values in positive if len(values)]
    if not positive:
        return None
    low = max(_LEAST_S, min(float(values.min()) for values in positive))
    high = max(float(values.max()) for values in positive)
    limits = []
    for limit in summary["slo"]["limits"] if summary is not None else ():
        for key, color in colors:
            if limit["name"].startswith(key.removesuffix("_s")):
                limits.append(Limit(_limit_name(limit), limit["limit_s"], color))
                low, high = min(low, limit["limit_s"]), max(high, limit["limit_s"])
    texts = [_half_and_most(line) for line in lines]
    x_axis = log_axis("latency", low, high, duration_text, "s")
    y_axis = linear_axis("share at or below", 0.0, 1.0, _percent, "%")
    return LineChart(title, f"{'; '.join(texts)}.", x_axis, y_axis, lines, limits)


def ttft_over_time(columns: Columns, summary: dict[str, Any]) -> LineChart | None:
    """Return median and 99th percentile of the time to first token over the time of arrival."""
    known = ~np.isnan(columns["ttft_s"])
    arrival, ttft = columns["arrival_s"][known], columns["ttft_s"][known]
    if not len(arrival):
        return None
    windows = int(min(MAX_WINDOWS, max(1, len(arrival) // _LEAST_IN_BIN)))
    edges = np.linspace(arrival.min(), np.nextafter(arrival.max(), np.inf), windows + 1)
    middles = (edges[:-1] + edges[1:]) / 2
    values = _quantiles_by(np.clip(np.searchsorted(edges, arrival, side="right") - 1, 0, windows - 1), ttft, windows)
    lines = [Line("median", middles, values[0], 1), Line("99th percentile", middles, values[1], 2, is_dashed=True)]
    limits = [
        Limit(_limit_name(limit), limit["limit_s"], 6, is_horizontal=True)
        for limit in summary["slo"]["limits"]
        if limit["name"].startswith("ttft") and limit["limit_s"] <= 2 * np.nanmax(values)
    ]
    top = max([float(np.nanmax(values)), *(limit.value for limit in limits)])
    worst = middles[int(np.nanargmax(values[1]))]
    highest = duration_text(float(np.nanmax(values[1])))
    text = f"By arrival. The 99th percentile is highest, {highest}, about {worst:,.0f} s."
    return LineChart(
        "First token over time",
        text,
        time_axis("arrival", float(arrival.min()), float(arrival.max())),
        linear_axis("time to first token", 0.0, top, duration_text, "s"),
        lines,
        limits,
    )


def ttft_by_prompt(columns: Columns) -> LineChart | None:
    """Return the time to first token against the length of the prompt."""
    known = ~np.isnan(columns["ttft_s"]) & (columns["ttft_s"] > 0)
    prompt, ttft = columns["prompt_tokens"][known], columns["ttft_s"][known]
    if not len(prompt) or prompt.min() == prompt.max():
        return None
    points = np.linspace(0, len(prompt) - 1, min(_MOST_POINTS, len(prompt))).astype(np.int64)
    edges = np.geomspace(max(1.0, prompt.min()), max(prompt.max(), prompt.min() + 1), _MOST_BINS + 1)
    where = np.clip(np.searchsorted(edges, prompt, side="right") - 1, 0, _MOST_BINS - 1)
    values = _quantiles_by(where, ttft, _MOST_BINS)
    values[:, np.bincount(where, minlength=_MOST_BINS) < _LEAST_IN_BIN] = np.nan
    middles = np.sqrt(edges[:-1] * edges[1:])
    has_curve = ~np.isnan(values[0])
    lines = []
    if has_curve.sum() > 1:
        lines = [
            Line("median", middles[has_curve], values[0][has_curve], 3),
            Line("99th percentile", middles[has_curve], values[1][has_curve], 2, is_dashed=True),
        ]
    text = f"Each point is a request{'' if len(points) == len(prompt) else f' ({len(points):,} of {len(prompt):,})'}."
    if ttft.min() < ttft.max():
        rank = float(np.corrcoef(_ranks(prompt), _ranks(ttft))[0, 1])
        text += f" Rank correlation {rank:.2f}: {_strength(rank)}."
    return LineChart(
        "First token against prompt length",
        text,
        log_axis("prompt tokens", max(1.0, float(prompt.min())), float(prompt.max()), _count, "tokens"),
        log_axis("time to first token", max(_LEAST_S, float(ttft.min())), float(ttft.max()), duration_text, "s"),
        lines,
        points=(prompt[points], ttft[points]),
        points_name="request",
    )


def _ranks(values: FloatArray) -> FloatArray:
    """Return the ranks of values, equal ones having the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: FloatArray = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return ranks


def _strength(rank: float) -> str:
    if abs(rank) < 0.3:
        return "length hardly decides"
    return "long prompts wait longer" if rank > 0 else "short prompts wait longer"


def _quantiles_by(group: npt.NDArray[np.int64], values: FloatArray, groups: int) -> FloatArray:
    """Return median and 99th percentile of each group, float64[2, groups]; NaN for empty ones."""
    order = np.argsort(group, kind="stable")
    parts = np.split(values[order], np.cumsum(np.bincount(group, minlength=groups))[:-1])
    found = np.full((2, groups), np.nan)
    for number, part in enumerate(parts):
        if len(part):
            found[:, number] = np.quantile(part, (0.5, 0.99))
    return found


def _curve(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the points of a distribution: closer where it ends, because the tail decides."""
    known = np.sort(values[~np.isnan(values)])
    shares = np.unique(np.concatenate([np.linspace(0, 1, _CURVE_POINTS), 1 - np.geomspace(1e-4, 0.1, 40)]))
    places = shares * (len(known) - 1)
    return np.interp(places, np.arange(len(known)), known), shares


def _is_known(values: FloatArray) -> bool:
    return not bool(np.isnan(values).all())


def _half_and_most(line: Line) -> str:
    """Return a line's median and 99th percentile in words."""
    half, most = (float(line.x[min(int(np.searchsorted(line.y, q)), len(line.x) - 1)]) for q in (0.5, 0.99))
    return f"{line.name}: half within {duration_text(half)}, 99% within {duration_text(most)}"


def _limit_name(limit: dict[str, Any]) -> str:
    name = limit["name"].removesuffix("_s").replace("_", " ")
    return f"limit {name.split(' ')[0].upper()} {name.split(' ')[1]}" if " " in name else f"limit {name}"


def _percent(ratio: float) -> str:
    return f"{ratio:.0%}"


def _count(value: float) -> str:
    return f"{value:,.0f}"
