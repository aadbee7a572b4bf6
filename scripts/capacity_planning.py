"""Capacity planning: the highest load each configuration serves within its limits, and the best per dollar.

    python scripts/capacity_planning.py conf/studies/capacity.yaml --ttft-p99-s 2 --tpot-p99-s 0.1

The configurations are the combinations of the study's ``sweep.grid``.  Each is searched by bisection on the arrival
rate, as one Ray task; the answers go to a table and a CSV file.  The runs are as long as the search needs, whatever
number of requests the study has.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cluster_sim.config.loading.overrides import apply_overrides
from cluster_sim.document import Document
from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.report.configuration_table import Figure, print_configurations
from cluster_sim.report.console import make_console
from cluster_sim.report.result_tables import duration_text
from cluster_sim.report.task_progress import TaskProgress
from cluster_sim.simulation.launcher import ray_tasks
from cluster_sim.study.capacity import FOUND, Capacity, CapacityTask, Search, rate_of, search_capacity
from cluster_sim.study.limited_figures import load_limits
from cluster_sim.study.sweep_table import write_csv
from cluster_sim.study.variants import Variant, expand

START_PER_S = 1.0
"""First rate tried for a trace, whose own rate may be far off."""


def plan(
    file: Annotated[Path, typer.Argument(help="Study with a sweep block.")] = Path("conf/studies/capacity.yaml"),
    overrides: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one value.")] = None,
    ttft_p99_s: Annotated[
        float | None, typer.Option(help="Limit of the P99 time to first token; overrides slo.")
    ] = None,
    tpot_p99_s: Annotated[
        float | None, typer.Option(help="Limit of the P99 time per output token; overrides slo.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0.001, max=1, help="Relative precision of the rate; 0.05 at most is used.")
    ] = 0.03,
    max_runs: Annotated[int, typer.Option(min=2, help="Most rates per bisection; an answer takes up to three.")] = 24,
    address: Annotated[str | None, typer.Option(help="Ray cluster to join; without it a local one is started.")] = None,
    out: Annotated[Path, typer.Option(metavar="FILE", help="CSV file to write.")] = Path("capacity.csv"),
) -> None:
    """Find the highest load of every configuration and the best one per dollar."""
    document = Document.read(file)
    limits = {"slo.ttft_p99_s": ttft_p99_s, "slo.tpot_p99_s": tpot_p99_s}
    apply_overrides(
        document, [*(overrides or ()), *(f"{key}={limit}" for key, limit in limits.items() if limit is not None)]
    )
    variants = expand(file, document)
    if not any(variant.study is not None and variant.study.slo.has_limits for variant in variants):
        raise InputError(f"{file}: slo: a search needs at least one limit; give --ttft-p99-s or --tpot-p99-s")
    if out.is_dir() or not out.parent.is_dir():
        raise InputError(f"--out {out}: must name a file in a directory that exists")
    valid = [variant for variant in variants if variant.study is not None]
    tasks = [
        CapacityTask(variant.study, Search(rate_of(variant.study) or START_PER_S, tolerance, max_runs))
        for variant in valid
        if variant.study is not None
    ]
    rows: dict[int, dict[str, Any]] = {
        variant.index: _row(variant, InputError(variant.error)) for variant in variants if variant.study is None
    }
    progress = TaskProgress(len(variants))
    for variant in variants:
        if variant.index in rows:
            typer.echo(progress.line(variant.label, _described(rows[variant.index]), is_instant=True))
    for position, answer in ray_tasks(address)(search_capacity, tasks):
        variant = valid[position]
        row = rows[variant.index] = _row(variant, answer)
        typer.echo(progress.line(variant.label, _described(row)))
    ordered = [rows[variant.index] for variant in variants]
    write_csv(ordered, out)
    typer.echo("")
    print_configurations(make_console(), ordered, list(variants[0].values), _figures(limits_of(valid)), str(out))
    typer.echo(f"\n{len(ordered)} configurations: {out}")
    typer.echo(_best(ordered))


def limits_of(variants: list[Variant]) -> list[str]:
    """Return the names of the limits that any configuration has, for example ``ttft_p99_s``."""
    limits = [limit for variant in variants if variant.study is not None for limit in load_limits(variant.study.slo)]
    return list(dict.fromkeys(limit.name for limit in limits))


def _row(variant: Variant, answer: Capacity | Exception) -> dict[str, Any]:
    """Return one line of the CSV; columns that do not apply are empty."""
    row: dict[str, Any] = {**variant.values, "status": "failed", "requests_per_s": None}
    figures = (
        "requests_per_s_low",
        "requests_per_s_high",
        "band_requests_per_s_low",
        "band_requests_per_s_high",
        "limited_by",
        "ttft_p99_s",
        "tpot_p99_s",
        "lost_requests_ratio",
        "gpus",
        "usd_per_hour",
        "requests_per_usd",
        "output_tokens_per_usd",
        "runs",
    )
    row |= dict.fromkeys(figures) | {"error": None}
    if isinstance(answer, Exception):
        return row | {"error": str(answer)}
    row |= {"status": answer.status, "requests_per_s": answer.rate_per_s, "runs": answer.runs}
    row["limited_by"] = answer.reason or None
    for prefix, interval in (("", answer.statistical), ("band_", answer.band)):
        if interval is not None:
            row |= {f"{prefix}requests_per_s_low": interval.low, f"{prefix}requests_per_s_high": interval.high}
    summary = answer.summary
    if summary is None or answer.rate_per_s is None:
        return row
    usd_per_hour = summary["cost_usd"] / summary["gpu_hours"] * summary["gpus"]
    requests_per_hour = answer.rate_per_s * 3600
    tokens_per_request = summary["output_tokens"] / max(summary["requests"]["finished"], 1)
    return row | {
        "ttft_p99_s": summary["ttft_s"]["p99"],
        "tpot_p99_s": summary["tpot_s"]["p99"],
        **answer.figures_s,
        "lost_requests_ratio": answer.lost_ratio,
        "gpus": summary["gpus"],
        "usd_per_hour": usd_per_hour,
        "requests_per_usd": requests_per_hour / usd_per_hour if usd_per_hour else None,
        "output_tokens_per_usd": requests_per_hour * tokens_per_request / usd_per_hour if usd_per_hour else None,
    }


def _figures(limits: list[str]) -> list[Figure]:
    """Return the columns of the table, the most important first."""

    def number(key: str, form: str) -> Figure:
        return Figure(_TITLES[key], lambda row: "-" if row[key] is None else format(row[key], form))

    return [
        number("requests_per_s", ",.2f"),
        Figure("interval", lambda row: _interval_text(row, "")),
        Figure("error band", lambda row: _interval_text(row, "band_")),
        *(Figure(_title(name), lambda row, name=name: duration_text(row.get(name))) for name in limits),
        number("gpus", ",d"),
        number("usd_per_hour", ",.2f"),
        number("requests_per_usd", ",.0f"),
        Figure("limited by", lambda row: row["limited_by"] or row["error"] or "", is_number=False),
    ]


def _title(limit: str) -> str:
    """Return a limit's name as a column's title, for example ``TTFT p99``."""
    owner, _, name = limit.rpartition(": ")
    metric, percentile, _ = name.split("_")
    return f"{owner} {metric.upper()} {percentile}".strip()


_TITLES = {"requests_per_s": "requests/s", "gpus": "GPUs", "usd_per_hour": "USD/h", "requests_per_usd": "requests/USD"}


def _interval_text(row: dict[str, Any], prefix: str) -> str:
    low, high = row[f"{prefix}requests_per_s_low"], row[f"{prefix}requests_per_s_high"]
    return "-" if low is None else f"{low:,.2f}-{high:,.2f}"


def _described(row: dict[str, Any]) -> str:
    if row["requests_per_s"] is None:
        return row["error"] or f"no load is within the limits: {row['limited_by']}"
    bound = "" if row["status"] == FOUND else " or more"
    gpus = f"{row['gpus']} GPU{'s' * (row['gpus'] != 1)}"
    interval = f" ({_interval_text(row, '')})" if row["status"] == FOUND else ""
    return (
        f"{row['requests_per_s']:.2f} requests/s{interval}{bound} (P99 TTFT {duration_text(row['ttft_p99_s'])}, "
        f"TPOT {duration_text(row['tpot_p99_s'])}) on {gpus} at {row['usd_per_hour']:.2f} USD/h"
    )


def _best(rows: list[dict[str, Any]]) -> str:
    ranked = [row for row in rows if row["requests_per_usd"] is not None]
    if all(row["error"] for row in rows):
        return "No configuration could be searched: the column error says why."
    if not ranked:
        return "No configuration serves any load within the limits."
    best = max(ranked, key=lambda row: row["requests_per_usd"])
    keys = list(best)[: list(best).index("status")]
    values = " ".join(f"{key}={best[key]}" for key in keys)
    return f"Best per dollar: {values}: {best['requests_per_usd']:.0f} requests/USD, {_described(best)}"


def main() -> None:
    """Run the script; wrong input ends with code 2, a cluster that fails with 3."""
    try:
        typer.run(plan)
    except (InputError, UnfinishedError) as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2 if isinstance(error, InputError) else 3)


if __name__ == "__main__":
    main()
