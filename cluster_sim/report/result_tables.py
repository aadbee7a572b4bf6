"""Tables of a run's results: the rows that the terminal and the HTML page share, made from its summary."""

from collections.abc import Sequence
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

LATENCIES: Final = (
    ("first token (TTFT)", "ttft_s"),
    ("per token (TPOT)", "tpot_s"),
    ("inter-token (ITL)", "itl_s"),
    ("end to end", "e2e_s"),
    ("queue", "queue_s"),
)
LATENCY_FIGURES: Final = ("mean", "p50", "p90", "p95", "p99", "max")


def duration_text(seconds: float | None) -> str:
    """Return a duration with three significant digits and the unit that suits it."""
    if seconds is None:
        return "-"
    if seconds == 0.0:
        return "0 s"
    for limit, factor, unit in ((1e-3, 1e6, "us"), (1.0, 1e3, "ms"), (1e4, 1.0, "s")):
        if abs(seconds) < limit:
            value = seconds * factor
            return f"{value:.0f} {unit}" if abs(value) >= 999.5 else f"{value:.3g} {unit}"
    return f"{seconds / 3600:,.2f} h"


def latency_table(summary: dict[str, Any]) -> Table:
    """Return the distributions of latencies; a tilde marks figures from a sketch."""
    table = _table("Latency")
    table.add_column("", no_wrap=True)
    for figure in LATENCY_FIGURES:
        table.add_column(figure, justify="right", no_wrap=True)
    for row in latency_rows(summary):
        table.add_row(*row)
    return table


def totals_table(summary: dict[str, Any]) -> Table:
    """Return counts by status, throughput, GPU-hours, cost and the source of the step times."""
    table = _table("Run", show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    for label, text in total_rows(summary):
        table.add_row(label, text)
    return table


def slo_table(summary: dict[str, Any]) -> Table | None:
    """Return each limit of the study beside its value, or None if the study has none."""
    slo = summary["slo"]
    if not slo["limits"]:
        return None
    table = _table("Objectives")
    for name in ("", "limit", "value", "met"):
        table.add_column(name, justify="left" if not name else "right")
    for limit in slo["limits"]:
        verdict = Text("yes", style="green") if limit["is_met"] else Text("no", style="bold red")
        table.add_row(*limit_row(limit), verdict)
    ratio = slo["good_requests_ratio"]
    if ratio is not None:
        table.add_row("good requests", "", f"{ratio:.2%}", "")
    return table


def print_report(console: Console, summary: dict[str, Any], notes: Sequence[str] = ()) -> None:
    """Print everything that a run shows at its end: its figures, broken laws if any, and ``notes``.

    The tables fit 80 columns.  Notes are never broken into lines, so that paths and digests in them can be copied.
    """
    for table in (latency_table(summary), totals_table(summary), slo_table(summary)):
        if table is not None:
            console.print(table)
            console.print()
    for name, check in summary["checks"].items():
        if not check["holds"]:
            console.print(Text(f"check failed: {name}: {check}", style="bold red"), soft_wrap=True)
    for note in notes:
        console.print(Text(note), soft_wrap=True)


def latency_rows(summary: dict[str, Any]) -> list[list[str]]:
    """Return the rows of latencies: a label, then ``LATENCY_FIGURES``, those of a sketch with a tilde."""
    rows = []
    for label, key in LATENCIES:
        distribution = summary[key]
        mark = "" if distribution["exact"] else "~"
        figures = [
            (mark if figure.startswith("p") else "") + duration_text(distribution[figure]) for figure in LATENCY_FIGURES
        ]
        rows.append([label, *figures])
    return rows


def limit_row(limit: dict[str, Any]) -> list[str]:
    """Return a limit of the study as name, limit and value."""
    name = limit["name"].removesuffix("_s").replace("_", " ")
    return [name, duration_text(limit["limit_s"]), duration_text(limit["value_s"])]


def total_rows(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the rows of totals as (label, text)."""
    throughput = summary["throughput"]
    requests, energy = summary["requests"], summary["energy"]
    joules = energy["j_per_output_token"]
    statuses = ", ".join(
        f"{count:,} {status}"
        for status, count in requests.items()
        if status != "total" and (count or status == "finished")
    )
    return [
        ("requests", statuses),
        ("simulated time", duration_text(summary["simulated_s"])),
        ("requests per second", f"{throughput['requests_per_s']:,.2f}"),
        ("output tokens per second", f"{throughput['output_tokens_per_s']:,.0f}"),
        ("prompt and output tokens per second", f"{throughput['total_tokens_per_s']:,.0f}"),
        ("preemptions", f"{summary['preemptions']:,}"),
        ("GPU-hours", f"{summary['gpu_hours']:,.3f} on {summary['gpus']:,} GPU{'s' * (summary['gpus'] != 1)}"),
        ("cost", f"${summary['cost_usd']:,.2f}"),
        ("cost per million output tokens", _dollars(summary["usd_per_million_output_tokens"])),
        ("cost per million tokens", _dollars(summary["usd_per_million_tokens"])),
        ("energy", f"{energy['energy_kwh']:,.3f} kWh"),
        ("energy per output token", "-" if joules is None else f"{joules:,.3g} J"),
        ("step times", summary["predictor"]),
    ]


def _table(title: str, *, show_header: bool = True) -> Table:
    """Return an empty table without a frame, which leaves the width to the figures."""
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        show_header=show_header,
        show_edge=False,
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )


def _dollars(amount: float | None) -> str:
    return "-" if amount is None else f"${amount:,.3f}"
