"""Charts of a run's report: plotly figures of bounded size, however long the run is."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from cluster_sim.report.run_data import RunData

FloatArray = npt.NDArray[np.float64]

BLUE: Final = "#2a6fbb"
ORANGE: Final = "#d9822b"
GREEN: Final = "#2f8f62"

MAX_TICKS: Final = 600
"""Points of a chart over time; longer series are averaged."""
MAX_WINDOWS: Final = 120
"""Windows over which percentiles over time are taken."""
MAX_BARS: Final = 128
"""Replicas that have a bar each; larger fleets are shown as a histogram."""

_CURVE_POINTS: Final = 400


def run_figures(data: RunData) -> list[tuple[str, str, go.Figure]]:
    """Return (title, explanation, figure) of every chart that the run has data for."""
    charts = [
        ("Latency distribution", "Share of finished requests at or below a latency.", latency_figure(data)),
        ("Time to first token", "By arrival, in windows of equal length.", ttft_over_time_figure(data)),
    ]
    series = data.series()
    if len(series["time_s"]):
        charts += [
            ("Requests at the replicas", "Running and waiting, over all replicas.", load_figure(series)),
            ("Tokens", "Computed per simulated second, over all replicas.", token_figure(series)),
            ("KV cache", "Share of blocks in use: mean and fullest replica.", kv_figure(series)),
        ]
    charts.append(("Balance", "Share of the run that a replica's busiest stage works.", balance_figure(data.summary)))
    return charts


def latency_figure(data: RunData) -> go.Figure:
    """Return the cumulative distributions of the main latencies, with the study's limits."""
    figure = _figure("latency", "share of requests")
    names = (("first token", "ttft_s", BLUE), ("per output token", "tpot_s", ORANGE), ("end to end", "e2e_s", GREEN))
    columns = data.request_columns(*(key for _, key, _ in names))
    for (name, key, color), values in zip(names, columns, strict=True):
        known = values[~np.isnan(values)]
        if not len(known):
            continue
        shares = np.linspace(0.0, 1.0, _CURVE_POINTS)
        figure.add_trace(
            go.Scatter(
                x=np.quantile(known, shares), y=shares, name=name, mode="lines", line={"color": color, "width": 2}
            )
        )
        for limit in data.summary["slo"]["limits"]:
            if limit["name"].startswith(key.removesuffix("_s")):
                label = limit["name"].removesuffix("_s").replace("_", " ") + " limit"
                figure.add_vline(x=limit["limit_s"], line={"color": color, "dash": "dot", "width": 1})
                figure.add_annotation(
                    x=np.log10(limit["limit_s"]),
                    y=0.02,
                    text=label,
                    textangle=-90,
                    showarrow=False,
                    xshift=-8,
                    yanchor="bottom",
                )
    figure.update_xaxes(type="log", ticksuffix=" s", dtick=1)
    figure.update_yaxes(range=[0, 1.02], tickformat=".0%")
    return figure


def ttft_over_time_figure(data: RunData) -> go.Figure:
    """Return median and 99th percentile of the time to first token over the time of arrival."""
    figure = _figure("arrival", "time to first token")
    arrival, ttft = data.request_columns("arrival_s", "ttft_s")
    known = ~np.isnan(ttft)
    arrival, ttft = arrival[known], ttft[known]
    if len(arrival):
        windows = int(min(MAX_WINDOWS, max(1, len(arrival) // 20)))
        edges = np.linspace(arrival.min(), np.nextafter(arrival.max(), np.inf), windows + 1)
        window = np.clip(np.searchsorted(edges, arrival, side="right") - 1, 0, windows - 1)
        order = np.argsort(window, kind="stable")
        parts = np.split(ttft[order], np.cumsum(np.bincount(window, minlength=windows))[:-1])
        middles = (edges[:-1] + edges[1:]) / 2
        for label, q, color in (("median", 0.5, BLUE), ("99th percentile", 0.99, ORANGE)):
            values = [float(np.quantile(part, q)) if len(part) else None for part in parts]
            figure.add_trace(_line(middles, values, label, color))
    figure.update_yaxes(ticksuffix=" s", rangemode="tozero")
    return figure


def load_figure(series: dict[str, FloatArray]) -> go.Figure:
    """Return the number of requests running and waiting over time."""
    figure = _figure("simulated time", "requests")
    for label, key, color in (("running", "running", BLUE), ("waiting", "waiting", ORANGE)):
        figure.add_trace(_line(*_over_time(series["time_s"], series[key]), label, color))
    figure.update_yaxes(rangemode="tozero")
    return figure


def token_figure(series: dict[str, FloatArray]) -> go.Figure:
    """Return prompt and generated tokens per simulated second over time."""
    figure = _figure("simulated time", "tokens per second")
    ticks = np.unique(series["time_s"])
    interval_s = float(ticks[0] if len(ticks) == 1 else np.median(np.diff(ticks)))
    for label, key, color in (("prompt", "prompt_tokens", BLUE), ("generated", "generated_tokens", ORANGE)):
        figure.add_trace(_line(*_over_time(series["time_s"], series[key] / interval_s), label, color))
    figure.update_yaxes(rangemode="tozero")
    return figure


def kv_figure(series: dict[str, FloatArray]) -> go.Figure:
    """Return the mean and the largest share of KV cache blocks in use over time."""
    figure = _figure("simulated time", "blocks in use")
    ticks, tick_index = np.unique(series["time_s"], return_inverse=True)
    mean = np.bincount(tick_index, series["kv_used_ratio"]) / np.bincount(tick_index)
    fullest = np.zeros(len(ticks))
    np.maximum.at(fullest, tick_index, series["kv_used_ratio"])
    for label, values, color in (("mean", mean, BLUE), ("fullest", fullest, ORANGE)):
        figure.add_trace(_line(*_thinned(ticks, values), label, color))
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    return figure


def balance_figure(summary: dict[str, Any]) -> go.Figure:
    """Return the busy share of every replica, or its histogram for a large fleet."""
    replicas = summary["replicas"]
    busy = [replica["busy_ratio"] for replica in replicas]
    if len(replicas) <= MAX_BARS:
        figure = _figure("replica", "busy")
        names = [f"{replica['pool']} {replica['replica']}" for replica in replicas]
        figure.add_trace(go.Bar(x=names, y=busy, marker={"color": BLUE}, name="busy"))
        figure.update_yaxes(tickformat=".0%", rangemode="tozero")
        figure.update_layout(showlegend=False, bargap=0.7 if len(replicas) < 6 else 0.3)
    else:
        figure = _figure("busy", "replicas")
        counts, edges = np.histogram(busy, bins=40)
        figure.add_trace(go.Bar(x=(edges[:-1] + edges[1:]) / 2, y=counts, marker={"color": BLUE}, name="replicas"))
        figure.update_xaxes(tickformat=".0%")
        figure.update_layout(showlegend=False, bargap=0.02)
    return figure


def _figure(x_title: str, y_title: str) -> go.Figure:
    figure = go.Figure()
    figure.update_layout(
        template="plotly_white",
        height=320,
        margin={"l": 64, "r": 16, "t": 8, "b": 48},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        font={"family": "system-ui, sans-serif", "size": 12, "color": "#24292f"},
        hovermode="x",
    )
    figure.update_xaxes(title=x_title)
    figure.update_yaxes(title=y_title)
    if x_title in {"simulated time", "arrival"}:
        figure.update_xaxes(ticksuffix=" s")
    return figure


def _line(x: FloatArray, y: Any, label: str, color: str) -> go.Scatter:
    return go.Scatter(x=x, y=y, name=label, mode="lines", line={"color": color, "width": 1.5})


def _over_time(time_s: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the sum of ``values`` over all replicas at each tick, averaged to at most ``MAX_TICKS`` points."""
    ticks, tick_index = np.unique(time_s, return_inverse=True)
    return _thinned(ticks, np.bincount(tick_index, values).astype(np.float64))


def _thinned(ticks: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    if len(ticks) <= MAX_TICKS:
        return ticks, values
    group = np.arange(len(ticks)) * MAX_TICKS // len(ticks)
    sizes = np.bincount(group)
    return np.bincount(group, ticks) / sizes, np.bincount(group, values) / sizes
