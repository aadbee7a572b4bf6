"""Table of an estimate for the terminal: means, and how far they may lie from those of a full run."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from cluster_sim.report.console import print_whole
from cluster_sim.report.result_tables import duration_text, plain_table
from cluster_sim.shown_values import counted


def print_estimate(console: Console, summary: dict[str, Any], notes: Sequence[str] = ()) -> None:
    """Print everything that an estimate shows: its figures, its bias, and ``notes``."""
    for warning in summary["warnings"]:
        console.print(Text(warning, style="yellow"), soft_wrap=True)
    table = plain_table("Estimate (no simulation)", show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    for label, text in estimate_rows(summary):
        table.add_row(label, text)
    print_whole(console, table)
    console.print()
    for note in (bias_text(summary), *notes):
        console.print(note, soft_wrap=True, highlight=False, markup=False)


def estimate_rows(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the rows as (label, text)."""
    throughput, energy, requests = summary["throughput"], summary["energy"], summary["requests"]
    joules = energy["j_per_output_token"]
    rows = [
        ("requests", f"{requests['finished']:,} finished of {requests['total']:,}"),
        ("mean time per token (TPOT)", duration_text(summary["tpot_s"]["mean"])),
        ("load over the most that is served", f"{summary['load_ratio']:.0%}"),
        ("requests finished per second", f"{throughput['requests_per_s']:,.2f}"),
        ("output tokens per second", f"{throughput['output_tokens_per_s']:,.0f}"),
    ]
    for pool in summary["pools"]:
        name = f"pool {pool['name']}: " if len(summary["pools"]) > 1 else ""
        rows += [
            (f"{name}busy", f"{pool['busy_ratio']:.0%}"),
            (f"{name}running per replica", f"{pool['running_mean']:,.1f}"),
            (f"{name}waiting per replica", f"{pool['waiting_mean']:,.2f}"),
            (f"{name}KV cache in use", f"{pool['kv_used_ratio']:.0%}"),
        ]
    return [
        *rows,
        ("GPU-hours", f"{summary['gpu_hours']:,.3f} on {counted(summary['gpus'], 'GPU')}"),
        ("cost", f"${summary['cost_usd']:,.2f}"),
        ("energy", f"{energy['energy_kwh']:,.3f} kWh"),
        ("energy per output token", "-" if joules is None else f"{joules:,.3g} J"),
        ("step times", summary["predictor"]),
    ]


def bias_text(summary: dict[str, Any]) -> str:
    """Return how far the mean TPOT lay from that of full runs where both were made."""
    bias = summary["tpot_bias_percent"]
    return (
        f"mean TPOT differs from that of full runs by {bias['up_to_80_percent']:g}% up to 80% of the highest load, by "
        f"{bias['near_saturation']:g}% near it; percentiles and times to the first token need run.detail: high"
    )
