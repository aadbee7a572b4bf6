"""Report of a sweep: one row a run, its verdict and the figures that decide between configurations."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from cluster_sim.hardware.predictors.error_band import BandCase
from cluster_sim.report.configuration_table import Figure, Row, print_configurations, verdict_text
from cluster_sim.report.result_tables import cost_text, duration_text
from cluster_sim.shown_values import by_number, counted


def _number(key: str, form: str) -> Any:
    return lambda row: "-" if row.get(key) is None else format(row[key], form)


def _seconds(key: str) -> Any:
    return lambda row: duration_text(row.get(key))


def _objectives(row: Row) -> Text:
    """Return the verdict on the objectives, or that the run failed."""
    return Text(row["status"], style="bold red") if row["error"] else verdict_text(row.get("slo.verdict"))


def _gpus(row: Row) -> str:
    """Return the GPUs of a run; of a fleet that changed, "8.3 (most 9)"."""
    if row.get("gpus") is None:
        return "-"
    mean, most = row.get("mean_gpus") or row["gpus"], row.get("most_gpus") or row["gpus"]
    is_fixed = most == row["gpus"] and abs(mean - most) < 1e-6 * most
    return f"{row['gpus']:,d}" if is_fixed else f"{mean:,.1f} (most {most:,.0f})"


FIGURES: Final = (
    Figure("objectives", _objectives, is_number=False),
    Figure("TTFT p99", _seconds("ttft_s.p99")),
    Figure("TPOT p99", _seconds("tpot_s.p99")),
    Figure("requests/s", _number("throughput.requests_per_s", ",.2f")),
    Figure("GPUs", _gpus),
    Figure("$/M tokens out", lambda row: cost_text(row.get("usd_per_million_output_tokens"), row.get("slo.verdict"))),
    Figure("tokens out/s", _number("throughput.output_tokens_per_s", ",.0f")),
    Figure("E2E p99", _seconds("e2e_s.p99")),
)
"""The columns, the most important first."""


def print_sweep(console: Console, rows: Sequence[Row], keys: Sequence[str], elsewhere: str) -> None:
    """Print the table of a sweep; ``elsewhere`` is the file that has every column."""
    print_configurations(console, rows, keys, FIGURES, elsewhere)
    estimates = sum(row.get("detail") == "estimate" for row in rows)
    if estimates:
        console.print(
            f"{estimates} of {counted(len(rows), 'row')} {by_number(estimates, 'is an estimate', 'are estimates')} "
            "(run.detail), which have means alone."
        )
    cases = Counter(BandCase(case).words for row in rows if (case := row.get("predictor_coverage.case")))
    if cases:
        counts = ", ".join(f"{case} ({counted(count, 'run')})" for case, count in cases.items())
        text = f"Error bands, which the objectives count: {counts}; if known, error_band_percent in {elsewhere}."
        console.print(Text(text), soft_wrap=True)


def result_text(row: Row) -> str:
    """Return the figures of interest of one run: its objectives, or its latency and throughput without any."""
    if row["error"]:
        return f"{row['status']}: {row['error']}"
    figures = f"TTFT p99 {duration_text(row.get('ttft_s.p99'))}, {row['throughput.requests_per_s']:,.2f} requests/s"
    verdict = row.get("slo.verdict")
    return figures if verdict is None else f"objectives {verdict.replace('_', ' ')}, {figures}"
