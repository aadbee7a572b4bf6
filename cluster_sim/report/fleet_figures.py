"""Charts of a fleet over time: requests, tokens, KV cache, goodput, and every replica as a line of a heat map."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cluster_sim.report.latency_figures import Columns
from cluster_sim.report.page.axes import linear_axis, time_axis
from cluster_sim.report.page.heat_map import HeatMap
from cluster_sim.report.page.line_chart import Line, LineChart

FloatArray = npt.NDArray[np.float64]
Series = dict[str, FloatArray]
"""Columns of ``series.parquet`` as float64."""

MAX_TICKS: Final = 400
"""Points of a chart over time; longer series are averaged."""
MAX_ROWS: Final = 256
"""Replicas with a line of their own in a heat map; of larger fleets neighbours share one, which shows the highest."""
_WINDOWS: Final = 120


def request_figures(columns: Columns, summary: dict[str, Any]) -> list[LineChart]:
    """Return the charts over time that follow from the requests: throughput, cache hits and preemptions."""
    end_s = summary["simulated_s"]
    if not end_s:
        return []
    windows = int(min(_WINDOWS, max(1, len(columns["arrival_s"]) // 20)))
    edges = np.linspace(0.0, end_s * (1 + 1e-12), windows + 1)
    width_s = edges[1] - edges[0]
    middles = (edges[:-1] + edges[1:]) / 2
    x_axis = time_axis("simulated time", 0.0, end_s)
    finished = columns["e2e_s"] == columns["e2e_s"]
    done = np.histogram(columns["finish_s"][finished], edges)[0] / width_s
    arrived = np.histogram(columns["arrival_s"], edges)[0] / width_s
    lines = [Line("arrivals", middles, arrived, 6), Line("finished", middles, done, 1)]
    text = f"Requests per second: {arrived.max():,.3g} arrive at most, {done.max():,.3g} finish at most."
    good = _good(columns, summary)
    if good is not None:
        rate = np.histogram(columns["finish_s"][finished & good], edges)[0] / width_s
        lines.append(Line("good: within the limits", middles, rate, 3, is_dashed=True))
        text += f" {good[finished].mean():.1%} of the finished ones are within the limits for all requests."
    top = max(float(line.y.max()) for line in lines)
    figures = [LineChart("Throughput", text, x_axis, linear_axis("requests per second", 0, top, _number), lines)]

    lost_lines = []
    if columns["cached_tokens"].any():
        cached, prompts = (np.histogram(columns["arrival_s"], edges, weights=columns[n])[0] for n in _HITS)
        hits = np.divide(cached, prompts, out=np.full(windows, np.nan), where=prompts > 0)
        text = (
            f"{columns['cached_tokens'].sum() / columns['prompt_tokens'].sum():.1%} of all prompt tokens were cached."
        )
        y_axis = linear_axis("prompt tokens found cached", 0, float(np.nanmax(hits)), _percent, "%")
        figures.append(LineChart("Prefix cache hits", text, x_axis, y_axis, [Line("hits", middles, hits, 3)]))
    if columns["preemptions"].any():
        counts = np.histogram(columns["arrival_s"], edges, weights=columns["preemptions"])[0]
        lost_lines.append(Line("preemptions", middles, counts / width_s, 6))
        share = float((columns["preemptions"] > 0).mean())
        text = f"By the arrival of the requests; {share:.1%} of them were preempted."
        y_axis = linear_axis("preemptions per second", 0, float(counts.max() / width_s), _number)
        figures.append(LineChart("Preemptions", text, x_axis, y_axis, lost_lines))
    return figures


def series_figures(series: Series) -> list[LineChart]:
    """Return the charts over time of what the replicas have: requests, tokens, KV cache."""
    ticks, tick_index = np.unique(series["time_s"], return_inverse=True)
    x_axis = time_axis("simulated time", 0.0, float(ticks[-1]))
    running, waiting = (np.bincount(tick_index, series[name]).astype(np.float64) for name in ("running", "waiting"))
    text = f"Over all replicas; {running.max():,.0f} run and {waiting.max():,.0f} wait at most."
    lines = [
        Line("running", *_thinned(ticks, running), 1),
        Line("waiting", *_thinned(ticks, waiting), 2, is_dashed=True),
    ]
    figures = [_over_time("Requests at the replicas", text, x_axis, "requests", lines, is_whole=True)]

    interval_s = float(ticks[0] if len(ticks) == 1 else np.median(np.diff(ticks)))
    names = (("prompt", "prompt_tokens", 1), ("generated", "generated_tokens", 3))
    lines = [
        Line(label, *_thinned(ticks, np.bincount(tick_index, series[name]) / interval_s), color, is_dashed=color == 1)
        for label, name, color in names
    ]
    text = (
        f"Tokens computed per second: {lines[0].y.max():,.0f} of prompts and {lines[1].y.max():,.0f} generated at most."
    )
    figures.append(_over_time("Tokens", text, x_axis, "tokens per second", lines))

    mean = np.bincount(tick_index, series["kv_used_ratio"]) / np.bincount(tick_index)
    fullest = np.zeros(len(ticks))
    np.maximum.at(fullest, tick_index, series["kv_used_ratio"])
    average, most = _percent(float(mean.mean())), _percent(float(fullest.max()))
    text = f"Share of KV blocks in use: {average} on average, {most} at most on one replica."
    lines = [
        Line("mean", *_thinned(ticks, mean), 1),
        Line("fullest replica", *_thinned(ticks, fullest, is_highest=True), 2, is_dashed=True),
    ]
    y_axis = linear_axis("blocks in use", 0, max(float(fullest.max()), 1e-9), _percent, "%")
    figures.append(LineChart("KV cache", text, x_axis, y_axis, lines))
    return figures


def heat_maps(series: Series, summary: dict[str, Any]) -> list[HeatMap]:
    """Return heat maps of requests and of KV use, a line for each replica."""
    ticks, tick_index = np.unique(series["time_s"], return_inverse=True)
    count = len(summary["replicas"])
    bins = min(len(ticks), MAX_TICKS)
    column = tick_index * bins // len(ticks)
    shared = -(-count // MAX_ROWS)
    row = series["replica"].astype(np.int64) // shared
    rows = -(-count // shared)
    names = [f"{replica['pool']} {replica['replica']}" for replica in summary["replicas"][::shared]]
    x_axis = time_axis("simulated time", 0.0, float(ticks[-1]))
    maps = []
    for title, values, unit in (
        ("Requests by replica", series["running"] + series["waiting"], "number of running and waiting requests"),
        ("KV cache by replica", series["kv_used_ratio"], "share of blocks in use"),
    ):
        grid = np.full((rows, bins), -np.inf)
        np.maximum.at(grid, (row, column), values)
        grid[np.isinf(grid)] = np.nan
        means = np.array([np.nanmean(line) if not np.isnan(line).all() else np.nan for line in grid])
        most = float(np.nanmax(grid))
        form = _percent if title.startswith("KV") else _number
        busiest = int(np.nanargmax(means))
        text = (
            f"Highest {unit} in each interval: on average {form(float(np.nanmean(means)))}, "
            f"{form(float(means[busiest]))} at {names[busiest]}, the highest. Empty where a replica does not exist."
        )
        if shared > 1:
            text += f" Each line stands for {shared} replicas."
        maps.append(HeatMap(title, text, names, grid, most, form(most), x_axis))
    return maps


_HITS: Final = ("cached_tokens", "prompt_tokens")


def _good(columns: Columns, summary: dict[str, Any]) -> npt.NDArray[np.bool_] | None:
    """Return which requests are within the limit of the highest percentile of each latency; None without any."""
    limits: dict[str, tuple[str, float]] = {}
    for limit in summary["slo"]["limits"]:
        name, _, figure = limit["name"].removesuffix("_s").rpartition("_")
        if figure.startswith("p") and name in {"ttft", "tpot", "e2e"}:
            limits[name] = max(limits.get(name, ("", 0.0)), (figure, limit["limit_s"]))
    if not limits:
        return None
    good = np.ones(len(columns["arrival_s"]), np.bool_)
    for name, (_, limit_s) in limits.items():
        values = columns[f"{name}_s"]
        good &= np.isnan(values) | (values <= limit_s)
    return good


def _over_time(
    title: str, text: str, x_axis: Any, y_title: str, lines: list[Line], *, is_whole: bool = False
) -> LineChart:
    top = max(float(line.y.max()) for line in lines)
    return LineChart(title, text, x_axis, linear_axis(y_title, 0, top, _number, is_whole=is_whole), lines)


def _thinned(ticks: FloatArray, values: FloatArray, *, is_highest: bool = False) -> tuple[FloatArray, FloatArray]:
    """Return a series of at most ``MAX_TICKS`` points: averages, or the highest values."""
    if len(ticks) <= MAX_TICKS:
        return ticks, values
    bins = np.arange(len(ticks)) * MAX_TICKS // len(ticks)
    counts = np.bincount(bins)
    if is_highest:
        return np.bincount(bins, ticks) / counts, np.maximum.reduceat(values, np.cumsum(counts) - counts)
    return np.bincount(bins, ticks) / counts, np.bincount(bins, values) / counts


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == round(value) else f"{value:,.3g}"


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.3g}%"
