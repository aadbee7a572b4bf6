"""Page of a comparison: differences with intervals; of two runs also verdicts, distributions, times and settings."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from cluster_sim.metrics.time_parts import PARTS
from cluster_sim.report.comparison_report import BETWEEN, difference_cells, summary_text
from cluster_sim.report.latency_figures import overlaid_distribution
from cluster_sim.report.page.document import document
from cluster_sim.report.page.markup import Column, Content, Markup, beside, element, section, table
from cluster_sim.report.request_times import read_request_times
from cluster_sim.report.result_tables import duration_text, verdict_sentence
from cluster_sim.report.run_data import RunData
from cluster_sim.report.run_page import verdict_kind
from cluster_sim.study.comparison import Finding
from cluster_sim.study.comparison_sides import Comparison, compare

_DISTRIBUTIONS: Final = (
    ("ttft_s", "Time to first token"),
    ("tpot_s", "Time per output token"),
    ("e2e_s", "End to end"),
    ("queue_s", "Queue"),
)
_MOST_DIFFERENCES: Final = 60
_NOTHING: Final = object()


def comparison_page(first: Path, second: Path) -> str:
    """Return the page as HTML text, of whatever ``compare`` compares; raises InputError if a side cannot be read."""
    comparison = compare(first, second)
    names = _names(first, second)
    content: list[Content] = []
    if comparison.kind == "runs":
        runs = RunData.read(first), RunData.read(second)
        content += [_verdict(name, run.summary) for name, run in zip(names, runs, strict=True)]
        content += [_distributions(names, *runs), _figures(comparison, names), *_of_runs(names, *runs)]
    else:
        content.append(_figures(comparison, ("benchmark", "simulated") if comparison.kind == "benchmark" else names))
    return document(f"{names[0]} and {names[1]}", *content, footer=f"{first} and {second}.")


def _distributions(names: tuple[str, str], *runs: RunData) -> Content:
    charts = []
    for column, title in _DISTRIBUTIONS:
        values = [run.request_columns(column)[0] for run in runs]
        chart = overlaid_distribution(title, list(zip(names, values, strict=True)))
        if chart is not None:
            charts.append(chart.html())
    return section("Distributions", beside(*charts))


def _of_runs(names: tuple[str, str], *runs: RunData) -> list[Content]:
    """Return the sections on where the time of two runs went, and on what their studies differ in."""
    return [
        _times(names, *runs),
        section("What the studies differ in", _differences(names, *(run.study() for run in runs))),
    ]


def _names(first: Path, second: Path) -> tuple[str, str]:
    """Return what to call the sides: their file names, or numbers where these are alike."""
    names = first.resolve().name, second.resolve().name
    return names if names[0] != names[1] else (f"{names[0]} (1)", f"{names[1]} (2)")


def _verdict(name: str, summary: dict[str, Any]) -> Markup:
    kind = verdict_kind(summary["slo"]["verdict"])
    return element("div", element("b", name), element("br"), verdict_sentence(summary), class_=f"verdict {kind}")


def _figures(comparison: Comparison, names: tuple[str, str]) -> Markup:
    """Return the differences of every configuration, with what chance alone may explain."""
    columns = [Column("figure", is_number=False), *(Column(title) for title in (*names, *BETWEEN))]
    columns.append(Column("finding", is_number=False))
    tables: list[Content] = []
    for group in comparison.groups:
        values = ", ".join(f"{key} {value}" for key, value in group.values.items())
        rows = []
        for difference in group.differences:
            *cells, finding = difference_cells(difference)
            rows.append([*cells, element("b", finding) if difference.finding is Finding.DIFFERENT else finding])
        tables.append(table(values or "Measured parts; differences with intervals.", columns, rows, kind="cards grid"))
    notes = [element("p", note, class_="note") for note in comparison.notes]
    return section("Figures", *tables, *notes, text=f"{summary_text(comparison)}.")


def _times(names: tuple[str, str], *runs: RunData) -> Content:
    """Return the mean of every part of the time of the requests of both runs."""
    means = [read_request_times(run).mean_parts_s() for run in runs]
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


def _differences(names: tuple[str, str], *studies: dict[str, Any]) -> Markup:
    left, right = (dict(_flat(study)) for study in studies)
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
