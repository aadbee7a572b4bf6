"""Report of a comparison: a table of differences with their intervals, or the same as plain data."""

from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cluster_sim.report.console import print_whole
from cluster_sim.report.result_tables import duration_text
from cluster_sim.shown_values import counted
from cluster_sim.study.comparison import Difference, Finding, plain_difference
from cluster_sim.study.comparison_sides import Comparison

BETWEEN: Final = ("difference", "interval", "%")
"""Titles of the columns between the values of both sides and the finding."""
_LARGE_RATIO: Final = 10.0
"""Change from which decimals of a per cent say nothing."""
STYLES: Final = {Finding.DIFFERENT: "bold", Finding.NOISE: "dim", Finding.EQUAL: "dim", Finding.UNKNOWN: ""}


def print_comparison(console: Console, comparison: Comparison, names: tuple[str, str]) -> None:
    """Print one table a configuration, then the notes."""
    for group in comparison.groups:
        if group.values:
            text = " ".join(f"{key}={value}" for key, value in group.values.items())
            console.print(Text(f"\n{text}"), soft_wrap=True)
        print_whole(console, _table(group.differences, names))
    for note in comparison.notes:
        console.print(Text(note), soft_wrap=True)


def summary_text(comparison: Comparison) -> str:
    """Return in words how many figures differ, and by what kind of comparison that is known."""
    findings = [difference.finding for group in comparison.groups for difference in group.differences]
    counts = ", ".join(f"{findings.count(finding)} {finding.value}" for finding in Finding if finding in findings)
    how = "in pairs" if comparison.are_paired else "as independent runs"
    return f"{counted(len(findings), 'figure')}, compared {how}: {counts}"


def plain(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison as plain data, fit for JSON."""
    return {
        "kind": comparison.kind,
        "is_paired": comparison.are_paired,
        "groups": [
            {"values": group.values, "differences": [plain_difference(difference) for difference in group.differences]}
            for group in comparison.groups
        ],
        "notes": comparison.notes,
    }


def _table(differences: list[Difference], names: tuple[str, str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("figure")
    for title in (*names, *BETWEEN):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("finding")
    for row in differences:
        *cells, finding = difference_cells(row)
        table.add_row(*cells, Text(finding, style=STYLES.get(row.finding, "")))
    return table


def difference_cells(row: Difference) -> list[str]:
    """Return the cells of a difference: figure, both values, difference, interval, percent, finding."""
    estimate, is_time = row.difference, _is_time(row.figure)
    interval = "-"
    if estimate is not None:
        interval = f"{_signed(estimate.interval.low, is_time)} to {_signed(estimate.interval.high, is_time)}"
    return [
        row.figure,
        _text(row.first, is_time),
        _text(row.second, is_time),
        _signed(row.second - row.first, is_time),
        interval,
        "-" if row.ratio is None else _percent(row.ratio),
        row.finding.value,
    ]


def _percent(ratio: float) -> str:
    return f"{ratio:+.1%}" if abs(ratio) < _LARGE_RATIO else f"{ratio:+,.0%}"


def _is_time(figure: str) -> bool:
    return "_s." in figure or (figure.endswith("_s") and not figure.endswith("per_s") and "_gpu_s" not in figure)


def _text(value: float, is_time: bool) -> str:
    return duration_text(value) if is_time else f"{value:,.4g}"


def _signed(value: float, is_time: bool) -> str:
    if not value:
        return "0"
    return f"{'-' if value < 0 else '+'}{_text(abs(value), is_time)}"
