"""The scoreboard as text."""

from typing import Any, Final

from validation.seeds import SEEDS

COLUMNS: Final = (
    ("TTFT", "ttft_mean"),
    ("TPOT", "tpot_mean"),
    ("E2E", "e2e_mean"),
    ("TTFT p99", "ttft_p99"),
    ("E2E p99", "e2e_p99"),
    ("req/s", "requests_per_s"),
    ("tok/s", "tokens_per_s"),
)
DETAILS: Final = (
    ("E2E", "stage.e2e_mean"),
    ("TPOT", "stage.tpot_mean"),
    ("TTFT", "stage.ttft_mean"),
    ("E2E p90", "stage.e2e_p90"),
    ("TTFT p90", "stage.ttft_p90"),
    ("TTFT p99", "stage.ttft_p99"),
    ("run TTFT50", "ttft_p50"),
    ("run TTFT90", "ttft_p90"),
    ("run E2E90", "e2e_p90"),
    ("run TPOT99", "tpot_p99"),
    ("full slots", "full_steps_per_s"),
)
"""Figures of load stages, and of whole runs beyond their means."""
WIDTH: Final = 34


def board_text(result: dict[str, Any]) -> str:
    """Return the errors per data set and overall, the peers' on the same runs below ours, and what was left out."""
    lines = ["", _row("mean absolute error, %", [title for title, _ in COLUMNS] + ["n"])]
    for name, errors in result["datasets"].items():
        lines.append(_row(name, _cells(errors)))
        lines += [_row(f"  {peer}", _cells(peer_errors)) for peer, peer_errors in result["peers"].get(name, {}).items()]
    lines += _refused_lines(result)
    lines += _detail_lines(result["datasets"])
    lines += [
        f"joules per token, {name}: " + ", ".join(f"{phase} phase {error:.1f} %" for phase, error in errors.items())
        for name, errors in result["power"].items()
    ]
    lines += [f"{run}: median of {SEEDS} seeds, {_spread(spread)}" for run, spread in result["spread"].items()]
    silicon = result["datasets"].get("aic-silicon-e2e")
    if silicon:
        lines.append(
            f"aic-silicon-e2e: TPOT error of a row {silicon['tpot_mean_of_rows']:.1f} % in the mean, "
            f"{silicon['tpot_median_of_rows']:.1f} % in the median; "
            f"rank correlation {silicon['rank_correlation']:.2f} over all {silicon['rows']} rows, "
            f"{silicon['rank_correlation_within_groups']:.2f} within a configuration"
        )
    overall = result["overall"]
    parts = [f"{name.upper()} {value:.1f} %" for name, value in overall.items() if value is not None]
    lines.append("overall (vLLM 0.15): " + (", ".join(parts) or "nothing to score"))
    if result["seconds"]:
        slowest = max(result["seconds"], key=result["seconds"].__getitem__)
        total = sum(result["seconds"].values())
        lines.append(
            f"{len(result['seconds'])} runs in {total:.0f} s; slowest {slowest}: {result['seconds'][slowest]:.1f} s"
        )
    reasons: dict[str, int] = {}
    for run in result["skipped"]:
        key = f"{run['dataset']}: {run['reason']}"
        reasons[key] = reasons.get(key, 0) + 1
    lines += [f"not scored, {count} x {reason}" for reason, count in sorted(reasons.items())]
    return "\n".join(lines)


def _detail_lines(datasets: dict[str, dict[str, float]]) -> list[str]:
    """Return the errors of load stages, medians and 90th percentiles, of the data sets that have any."""
    lines = ["", _row("by stage, and within a run, %", [title for title, _ in DETAILS])]
    for name, errors in datasets.items():
        if any(metric in errors for _, metric in DETAILS):
            lines.append(_row(name, [f"{errors[metric]:.1f}" if metric in errors else "-" for _, metric in DETAILS]))
    return [*lines, ""] if len(lines) > 2 else []


def _refused_lines(result: dict[str, Any]) -> list[str]:
    """Return the scores with the runs whose figures contradict themselves, and why they do."""
    lines = [_row(f"{name}, refused too", _cells(errors)) for name, errors in result["with_refused"].items()]
    reasons: dict[str, int] = {}
    for run in result["refused"]:
        key = f"{run['dataset']}: {run['reason'].split(':', maxsplit=1)[0]}"
        reasons[key] = reasons.get(key, 0) + 1
    return lines + [f"contradicts itself, {count} x {reason}" for reason, count in sorted(reasons.items())]


def _spread(spread: dict[str, float]) -> str:
    """Return the standard deviations between seeds of the figures shown."""
    shown = (f"{title} +-{spread[metric]:.1f} %" for title, metric in COLUMNS if metric in spread)
    return "standard deviation " + ", ".join(shown)


def _cells(errors: dict[str, float]) -> list[str]:
    cells = [f"{errors[metric]:.1f}" if metric in errors else "-" for _, metric in COLUMNS]
    return [*cells, f"{errors.get('n', 0):.0f}"]


def _row(title: str, cells: list[str]) -> str:
    return f"{title:{WIDTH}s}" + "".join(f"{cell:>9s}" for cell in cells)
