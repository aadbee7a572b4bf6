"""Page that compares two runs: verdicts, figures side by side, distributions on one picture, differing settings."""

from collections.abc import Iterator
from typing import Any, Final

import yaml

from cluster_sim.metrics.time_parts import PARTS
from cluster_sim.report.latency_figures import overlaid_distribution
from cluster_sim.report.page.document import document
from cluster_sim.report.page.markup import Column, Content, Markup, beside, element, section, table
from cluster_sim.report.request_times import read_request_times
from cluster_sim.report.result_tables import duration_text, verdict_sentence
from cluster_sim.report.run_data import RunData
from cluster_sim.report.run_page import verdict_kind

_DISTRIBUTIONS: Final = (
    ("ttft_s", "Time to first token"),
    ("tpot_s", "Time per output token"),
    ("e2e_s", "End to end"),
    ("queue_s", "Queue"),
)
_LATENCIES: Final = {
    "ttft_s": "first token",
    "tpot_s": "per output token",
    "itl_s": "inter-token",
    "e2e_s": "end to end",
}
_MANY: Final = 10.0
"""Ratio from which a change is told in times."""
_MOST_DIFFERENCES: Final = 60
_NOTHING: Final = object()


def comparison_page(first: RunData, second: RunData) -> str:
    """Return the page as HTML text; raises InputError if a table of a run cannot be read."""
    names = _names(first, second)
    runs = first, second
    charts = []
    for column, title in _DISTRIBUTIONS:
        values = [run.request_columns(column)[0] for run in runs]
        chart = overlaid_distribution(title, list(zip(names, values, strict=True)))
        if chart is not None:
            charts.append(chart.html())
    content: list[Content] = [
        *(_verdict(name, run.summary) for name, run in zip(names, runs, strict=True)),
        section("Figures", _figures(names, first.summary, second.summary)),
        section("Distributions", beside(*charts)),
        _times(names, first, second),
        section("What the studies differ in", _differences(names, first.resolved, second.resolved)),
    ]
    title = f"{names[0]} and {names[1]}"
    return document(
        title, *content, footer=f"Digests {first.manifest.get('digest')} and {second.manifest.get('digest')}."
    )


def _names(first: RunData, second: RunData) -> tuple[str, str]:
    """Return what to call the runs: their directories, or numbers where these are alike."""
    names = first.directory.resolve().name, second.directory.resolve().name
    return names if names[0] != names[1] else (f"{names[0]} (1)", f"{names[1]} (2)")


def _verdict(name: str, summary: dict[str, Any]) -> Markup:
    kind = verdict_kind(summary["slo"]["verdict"])
    return element("div", element("b", name), element("br"), verdict_sentence(summary), class_=f"verdict {kind}")


def _figures(names: tuple[str, str], first: dict[str, Any], second: dict[str, Any]) -> Markup:
    rows = []
    for label, left, right, form in _pairs(first, second):
        change = "-"
        if left and right is not None:
            ratio = right / left
            change = f"{ratio - 1:+.1%}" if ratio < _MANY else f"{ratio:,.0f} times"
        rows.append([label, _text(left, form), _text(right, form), change])
    columns = [Column("figure", is_number=False), Column(names[0]), Column(names[1]), Column("change")]
    return table("The measured part of each run; the change is from the first to the second.", columns, rows)


def _text(value: float | None, form: str) -> str:
    if value is None:
        return "-"
    return duration_text(value) if form == "s" else form.format(value)


def _pairs(first: dict[str, Any], second: dict[str, Any]) -> Iterator[tuple[str, Any, Any, str]]:
    """Yield (label, value of the first, value of the second, form)."""
    summaries = first, second
    for key, words in _LATENCIES.items():
        for figure in ("mean", "p50", "p99"):
            yield f"{words}, {figure}", *(summary[key][figure] for summary in summaries), "s"
    for key, words in (
        ("requests_per_s", "requests finished per second"),
        ("output_tokens_per_s", "output tokens per second"),
        ("total_tokens_per_s", "prompt and output tokens per second"),
    ):
        yield words, *(summary["throughput"][key] for summary in summaries), "{:,.2f}"
    yield "good requests", *(summary["slo"]["good_requests_ratio"] for summary in summaries), "{:.2%}"
    yield "prefix cache hits", *(summary["prefix_hit_ratio"] for summary in summaries), "{:.2%}"
    for key, words, form in (
        ("preemptions", "preemptions", "{:,}"),
        ("gpus", "GPUs", "{:,}"),
        ("gpu_hours", "GPU-hours", "{:,.3f}"),
        ("cost_usd", "cost", "${:,.2f}"),
        ("usd_per_million_output_tokens", "cost per million output tokens", "${:,.3f}"),
    ):
        yield words, *(summary[key] for summary in summaries), form
    yield "energy per output token", *(summary["energy"]["j_per_output_token"] for summary in summaries), "{:,.3g} J"


def _times(names: tuple[str, str], first: RunData, second: RunData) -> Content:
    """Return the mean of every part of the time of the requests of both runs."""
    means = [read_request_times(run).mean_parts_s() for run in (first, second)]
    if not all(means):
        return ""
    rows = [
        [words, *(duration_text(mean[name]) for mean in means)]
        for name, words in PARTS.items()
        if any(mean[name] for mean in means)
    ]
    rows.append(["together", *(duration_text(sum(mean.values())) for mean in means)])
    columns = [Column("part", is_number=False), *(Column(name) for name in names)]
    return section("Where the time goes", table("Mean over the finished requests of each run.", columns, rows))


def _differences(names: tuple[str, str], first: str, second: str) -> Markup:
    left, right = (dict(_flat(yaml.safe_load(text))) for text in (first, second))
    keys = [key for key in dict.fromkeys([*left, *right]) if left.get(key, _NOTHING) != right.get(key, _NOTHING)]
    if not keys:
        return element("p", "Nothing: every value of the two studies is the same.")
    rows = [[key, *(_value(values.get(key, "-")) for values in (left, right))] for key in keys[:_MOST_DIFFERENCES]]
    columns = [Column("key", is_number=False), *(Column(name, is_number=False) for name in names)]
    more = f" The first {_MOST_DIFFERENCES} of {len(keys)}." if len(keys) > _MOST_DIFFERENCES else ""
    return table(f"Values that differ, defaults included.{more}", columns, rows, kind="cards")


def _value(value: Any) -> str:
    if value is None:
        return "none"
    return "empty" if value in ({}, [], "") else str(value)


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of every single value of a study."""
    entries: Any = ()
    if isinstance(value, dict):
        entries = value.items()
    elif isinstance(value, list):
        entries = enumerate(value)
    if not entries:
        yield prefix.removesuffix("."), value
    for key, part in entries:
        yield from _flat(part, f"{prefix}{key}.")
