"""Tables of a run's results: the rows that the terminal and the HTML page share, made from its summary."""

from collections.abc import Sequence
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cluster_sim.hardware.predictors.error_band import BandCase
from cluster_sim.report.console import print_whole
from cluster_sim.shown_values import counted

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
    factor, unit = _unit(seconds)
    return f"{seconds * factor:,.2f} h" if unit == "h" else f"{_three_digits(seconds * factor)} {unit}"


def _unit(seconds: float) -> tuple[float, str]:
    """Return the unit that suits a duration, and how many of it are a second."""
    for limit, factor, unit in ((1e-3, 1e6, "us"), (1.0, 1e3, "ms"), (1e4, 1.0, "s")):
        if abs(seconds) < limit:
            return factor, unit
    return 1 / 3600, "h"


def _three_digits(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def latency_table(summary: dict[str, Any]) -> Table:
    """Return the distributions of latencies; a tilde marks figures from a sketch."""
    table = plain_table(f"Latency {coverage_text(summary)}")
    table.add_column("", no_wrap=True)
    for figure in LATENCY_FIGURES:
        table.add_column(figure, justify="right", no_wrap=True)
    for row in latency_rows(summary):
        table.add_row(*row)
    return table


def coverage_text(summary: dict[str, Any]) -> str:
    """Return which requests the latencies cover: the finished ones of the measured part; but a gap between two tokens
    is recorded when it ends, of every request of the run.
    """
    requests, everyone = summary["requests"], summary["whole_run"]["requests"]["total"]
    text = f"of {counted(requests['total'], 'request')}"
    if requests["finished"] != requests["total"]:
        text = f"of the {counted(requests['finished'], 'request')} of {requests['total']:,} that finished"
    return text if requests["finished"] == everyone else f"{text}; inter-token (ITL) of all {everyone:,}"


def totals_table(summary: dict[str, Any]) -> Table:
    """Return counts by status, throughput, GPU-hours, cost and the source of the step times."""
    table = plain_table("Run", show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    for label, text in total_rows(summary):
        table.add_row(label, text)
    return table


def objective_lines(summary: dict[str, Any]) -> list[Text]:
    """Return each limit of the study with its value, band and verdict in one line, and the share of good requests."""
    rows = objective_rows(summary)
    if not rows:
        return []
    lines = [Text("Objectives", style="bold")]
    lines += [Text(f"{text}: ").append(*verdict_style(verdict)) for text, verdict in rows]
    shares = good_text(summary)
    return [*lines, *([Text(shares)] if shares else []), Text(band_note(summary))]


def objective_rows(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Return (text, verdict) of every limit, those of classes after those of all requests."""
    slo = summary["slo"]
    rows = [(limit_text(limit), limit["verdict"]) for limit in slo["limits"]]
    for limited in slo["classes"]:
        label = ", ".join(f"{name} {value}" for name, value in limited["match"].items())
        rows += [(f"{label}: {limit_text(limit)}", limit["verdict"]) for limit in limited["limits"]]
    return rows


def good_text(summary: dict[str, Any]) -> str:
    """Return the share of good requests, and how many are left out of it; "" where there is none."""
    slo = summary["slo"]
    ratio = slo["good_requests_ratio"]
    if ratio is None:
        return ""
    left_out = f" ({slo['left_out']:,} cut off by the end of the run are left out)" if slo["left_out"] else ""
    return f"good requests {ratio:.2%}{left_out}"


def print_report(console: Console, summary: dict[str, Any], notes: Sequence[str] = ()) -> None:
    """Print everything that a run shows at its end: its figures, broken laws if any, and ``notes``.

    The tables fit 80 columns.  Notes are never broken into lines, so that paths and digests in them can be copied.
    """
    for warning in summary["warnings"]:
        console.print(Text(warning, style="yellow"), soft_wrap=True)
    if summary["warnings"]:
        console.print()
    for table in (latency_table(summary), totals_table(summary)):
        print_whole(console, table)
        console.print()
    objectives = objective_lines(summary)
    for line in objectives:
        console.print(line, soft_wrap=True)
    if objectives:
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


def limit_text(limit: dict[str, Any]) -> str:
    """Return a limit of the study, for example "ttft p99 0.79 s (0.67-0.91), limit 2 s"."""
    name = limit["name"].removesuffix("_s").replace("_", " ")
    if limit["value_s"] is None and limit.get("lost"):
        return f"{name} among lost requests, limit {duration_text(limit['limit_s'])}"
    value = duration_text(limit["value_s"])
    return f"{name} {value}{band_text(limit)}, limit {duration_text(limit['limit_s'])}"


def band_text(limit: dict[str, Any]) -> str:
    """Return the band around a limit's value in brackets, in the value's unit; "" without a value."""
    value_s = limit["value_s"]
    if value_s is None:
        return ""
    if limit["low_s"] is None:
        return " (error unknown)"
    factor = _unit(value_s)[0]
    low, high = (_three_digits(limit[name] * factor) for name in ("low_s", "high_s"))
    return f" ({low}-{high})"


def verdict_style(verdict: str) -> tuple[str, str]:
    """Return a verdict's words and their style."""
    return verdict.replace("_", " "), {"met": "green", "missed": "bold red"}.get(verdict, "bold yellow")


def verdict_sentence(summary: dict[str, Any]) -> str:
    """Return the verdict on the objectives, with the limits that are not met as its reason."""
    rows = objective_rows(summary)
    if not rows:
        return "No objectives are set."
    verdict = verdict_style(summary["slo"]["verdict"])[0]
    reasons = [f"{text}: {verdict_style(outcome)[0]}" for text, outcome in rows if outcome != "met"]
    return f"Objectives {verdict}: {'; '.join(reasons) or 'every limit is kept'}."


def cost_text(usd: float | None, verdict: str | None) -> str:
    """Return a cost per million tokens, which says so where the objectives were not met."""
    if usd is None:
        return "-"
    text = f"${usd:,.3f}"
    return text if verdict in (None, "met") else f"{text} (objectives {verdict_style(str(verdict))[0]})"


def band_note(summary: dict[str, Any]) -> str:
    """Return what the bands stand for."""
    coverage = summary["predictor_coverage"]
    case = BandCase(coverage["case"]).words
    if coverage["is_near_saturation"]:
        case += ", near saturation"
    return f"In brackets: where nine of ten measured values lay ({case})."


def measured_rows(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the row of the measured window; none if that is the whole run."""
    window = summary["window"]
    if window["warmup"] == "none" == window["measure"]:
        return []
    total = summary["whole_run"]["requests"]["total"]
    times = f"{duration_text(window['start_s'])} to {duration_text(window['end_s'])}"
    return [("measured", f"{summary['requests']['total']:,} of {total:,}, {times}")]


def fleet_rows(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the rows that fleets of several replicas, prefix caches, hand-over and retries need; none without them."""
    rows = []
    balance = summary.get("imbalance") or {}
    if balance.get("requests_max_over_mean") is not None:
        requests, kv = balance["requests_max_over_mean"], balance["kv_max_over_mean"]
        rows.append(("busiest replica over mean", f"{requests:.2f} requests, {'-' if kv is None else f'{kv:.2f}'} KV"))
    if summary.get("prefix_hit_ratio") is not None:
        rows.append(("prefix cache hits", f"{summary['prefix_hit_ratio']:.1%}"))
    if summary.get("retries"):
        rows.append(("retries", f"{summary['retries']:,} in {summary['attempts']:,} attempts"))
    moved = summary.get("handover")
    if moved:
        share = moved["transfer_ttft_ratio"]
        text = f"{moved['transfer_bytes'] / 1e9:,.1f} GB{'' if share is None else f', {share:.1%} of TTFT'}"
        rows.append(("KV cache moved", text))
    if summary["slo"].get("over_s"):
        rows.append(("time over the objectives", duration_text(summary["slo"]["over_s"])))
    return rows


def gpus_text(summary: dict[str, Any]) -> str:
    """Return the GPUs of a fleet; of one that changed, their mean and the most that were there at the same time."""
    start = summary["gpus"]
    mean, most = summary.get("mean_gpus") or start, summary.get("most_gpus") or start
    if most == start and abs(mean - start) < 1e-6 * start:
        return counted(start, "GPU")
    return f"{mean:,.1f} GPUs on average, {most:,} at most"


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
    verdict = summary["slo"]["verdict"]
    part, whole = (", measured part", ", whole run") if measured_rows(summary) else ("", "")
    return [
        ("requests", statuses),
        *measured_rows(summary),
        ("simulated time", duration_text(summary["simulated_s"])),
        ("requests finished per second", f"{throughput['requests_per_s']:,.2f}"),
        ("output tokens generated per second", f"{throughput['output_tokens_per_s']:,.0f}"),
        ("prompt and output tokens per second", f"{throughput['total_tokens_per_s']:,.0f}"),
        (f"preemptions{whole}", f"{summary['preemptions']:,}"),
        *fleet_rows(summary),
        (f"GPU-hours{part}", f"{summary['gpu_hours']:,.3f} on {gpus_text(summary)}"),
        (f"cost{part}", f"${summary['cost_usd']:,.2f}"),
        (
            "cost per million output tokens",
            cost_text(summary["usd_per_million_output_tokens"], summary["slo"]["verdict"]),
        ),
        ("cost per million tokens", cost_text(summary["usd_per_million_tokens"], verdict)),
        (f"energy{whole}", f"{energy['energy_kwh']:,.3f} kWh"),
        ("energy per output token", "-" if joules is None else f"{joules:,.3g} J"),
        ("step times", summary["predictor"]),
        *_passed_over(summary),
    ]


def _passed_over(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the rows about models that were not understood in full."""
    rows = []
    for label, key in (
        ("model keys not understood", "model_keys_not_understood"),
        ("model parts left out", "model_parts_left_out"),
    ):
        found = {f"{pool['model']}: {', '.join(pool[key])}": None for pool in summary.get("pools", ()) if pool.get(key)}
        if found:
            rows.append((label, "; ".join(found)))
    return rows


def plain_table(title: str, *, show_header: bool = True) -> Table:
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
