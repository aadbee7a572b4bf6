"""Comparison of all routing policies on the same three workloads, and what stale telemetry does to them.

    python scripts/compare_policies.py TRACES [--page docs/routing.md] [--picture docs/images/herding.svg]

TRACES is a folder with ``azure_llm_2023_conv.csv.gz`` (Azure, 2023) and ``mooncake_conversation.jsonl.gz`` (Mooncake).
The tables replace those between ``<!-- comparison NAME -->`` and ``<!-- end -->`` in the page.  Eight replicas of Llama
3.1 8B on one H100 each serve every workload; everything runs in this process and takes a few minutes.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cluster_sim.config.schema.study import Study
from cluster_sim.options import BASE_DIRECTORY
from cluster_sim.recording.rows import FIELD
from cluster_sim.recording.statuses import FINISHED, STATUSES
from cluster_sim.routing.policy_interface import ROUTING_POLICIES
from cluster_sim.simulation.executor import RunOutputs
from cluster_sim.simulation.inline import InlineExecutor
from cluster_sim.simulation.plan import make_plan
from cluster_sim.units import NS_PER_S

REPLICAS: Final = 8
OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "slo_aware": {"prefill_tokens_per_s": 30_000, "step_ms": 7, "step_ms_per_request": 0.05}
}
"""Options of policies that have to be told of the fleet."""
PERIODS_S: Final = (0.0, 0.05, 0.2, 1.0, 5.0, 15.0, 30.0)
SCORERS: Final = ("queue-scorer", "running-requests-size-scorer")
QUEUE_SCORERS: Final = {
    "apiVersion": "llm-d.ai/v1alpha1",
    "kind": "EndpointPickerConfig",
    "plugins": [{"type": name} for name in (*SCORERS, "max-score-picker", "single-profile-handler")],
    "schedulingProfiles": [
        {"name": "default", "plugins": [{"pluginRef": name} for name in (*SCORERS, "max-score-picker")]}
    ],
}
HERDING: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "llm-d's load scorers (samples only)": ("#c0392b", {"policy": "endpoint_picker", "config": QUEUE_SCORERS}),
    "least_loaded (adds what it has sent)": ("#1f5fa8", {"policy": "least_loaded"}),
    "power_of_two (own counts)": ("#2e8b57", {"policy": "power_of_two"}),
}


@dataclass(frozen=True)
class Figures:
    """What a run is judged by."""

    ttft_s: NDArray[np.float64]
    e2e_s: NDArray[np.float64]
    hit_ratio: float
    imbalance: float
    """Mean over time of the most over the mean of requests in flight by replica."""
    rounds_per_s: float
    """Windows of the protocol per simulated second, with every replica in an actor of its own."""

    def percentile(self, name: str, percent: float) -> float:
        """Return a percentile of one of the latencies in s."""
        return float(np.percentile(getattr(self, name), percent))


def run(workload: dict[str, Any], router: dict[str, Any]) -> Figures:
    """Run one study."""
    pool = {"model": "llama-3.1-8b", "device": "h100-sxm", "replicas": REPLICAS}
    document = {"seed": 3, "workload": workload, "fleet": {"pools": [pool]}, "router": router}
    study = Study.model_validate(document, context={BASE_DIRECTORY: Path.cwd()})
    simulation = replace(make_plan(study).simulation(), keeps_rows=True, series_interval_ns=0)
    outcome = InlineExecutor([[replica] for replica in range(REPLICAS)]).run(simulation, RunOutputs())
    rows = np.concatenate([block.rows for block in outcome.hub.rows or []])
    rows = rows[rows[:, FIELD["status"]] == STATUSES.index(FINISHED)]
    columns = {name: rows[:, index] for name, index in FIELD.items()}
    return Figures(
        (columns["first_token_ns"] - columns["arrival_ns"]) / NS_PER_S,
        (columns["finish_ns"] - columns["arrival_ns"]) / NS_PER_S,
        float(columns["cached_tokens"].sum() / columns["prompt_tokens"].sum()),
        imbalance(columns),
        outcome.hub.traffic["rounds"] / (outcome.hub.end_ns / NS_PER_S),
    )


def imbalance(columns: dict[str, NDArray[np.int64]]) -> float:
    """Return the mean of max / mean requests in flight, every tenth of a second between the first and last arrival."""
    starts, ends = columns["dispatch_ns"], columns["finish_ns"]
    ticks = np.arange(starts.min(), columns["arrival_ns"].max(), NS_PER_S // 10)
    in_flight = np.zeros((REPLICAS, len(ticks)))
    for replica in range(REPLICAS):
        mine = columns["replica"] == replica
        begun = np.searchsorted(np.sort(starts[mine]), ticks, side="right")
        in_flight[replica] = begun - np.searchsorted(np.sort(ends[mine]), ticks, side="right")
    means = in_flight.mean(axis=0)
    busy = means > 0
    return float((in_flight.max(axis=0)[busy] / means[busy]).mean())


def workloads(traces: Path, share: float) -> dict[str, dict[str, Any]]:
    """Return the workloads by name, each with ``share`` of its requests."""

    def trace(file: str, form: str, first: int, time_scale: float) -> dict[str, Any]:
        return {
            "kind": "trace",
            "format": form,
            "path": str(traces / file),
            "first": max(10, round(first * share)),
            "time_scale": time_scale,
        }

    conversations = {
        "kind": "sessions",
        "count": max(5, round(600 * share)),
        "arrivals": {"kind": "poisson", "request_rate": 24},
        "turns": {"kind": "geometric", "continue_probability": 0.8, "max": 12},
        "think_time_s": {"kind": "exponential", "mean": 5},
        "max_context_tokens": 8000,
        "lengths": {
            "prompt": {"kind": "lognormal", "mean": 600, "std": 500, "max": 4000},
            "output": {"kind": "lognormal", "mean": 250, "std": 150, "max": 1000},
        },
        "traits": {"prefix": {"levels": [{"count": 5, "tokens": 1000}]}},
    }
    return {
        "azure": trace("azure_llm_2023_conv.csv.gz", "azure", 3000, 0.025),
        "mooncake": trace("mooncake_conversation.jsonl.gz", "mooncake", 1200, 0.4),
        "conversations": conversations,
    }


def table(workload: dict[str, Any], names: Sequence[str]) -> str:
    """Return the rows of all policies under one workload."""
    lines = [
        "| policy | TTFT p50 | p99 | E2E p50 | p99 | hit ratio | imbalance | rounds/s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in names:
        figures = run(workload, {"policy": name} | OPTIONS.get(name, {}))
        latencies = [
            f"{figures.percentile(latency, percent):.3g}" for latency in ("ttft_s", "e2e_s") for percent in (50, 99)
        ]
        cells = [f"`{name}`", *latencies, f"{figures.hit_ratio:.2f}", f"{figures.imbalance:.2f}"]
        lines.append(f"| {' | '.join(cells)} | {figures.rounds_per_s:,.3g} |")
        print(lines[-1], flush=True)
    return "".join(f"{line}\n" for line in lines)


def with_tables(page: str, tables: dict[str, str]) -> str:
    """Return a page with its tables of comparisons replaced."""
    for name, text in tables.items():
        mark = re.compile(rf"(<!-- comparison {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        page, count = mark.subn(lambda found, text=text: found[1] + text + found[2], page)  # type: ignore[misc]
        assert count == 1, f"the page has {count} places for the comparison {name}"
    return page


def herding(share: float) -> dict[str, list[Figures]]:
    """Return the figures of each policy of the picture by period."""
    workload = {
        "kind": "synthetic",
        "count": max(20, round(8000 * share)),
        "arrivals": {"kind": "poisson", "request_rate": 80},
        "lengths": {
            "prompt": {"kind": "lognormal", "mean": 1500, "std": 1000, "max": 7000},
            "output": {"kind": "lognormal", "mean": 200, "std": 100, "max": 800},
        },
    }
    found: dict[str, list[Figures]] = {}
    for title, (_, router) in HERDING.items():
        for period_s in PERIODS_S:
            telemetry = {"period_ms": period_s * 1e3, "latency_ms": 1.0 if period_s else 0.0}
            figures = run(workload, router | {"telemetry": telemetry})
            print(
                f"{title}, {period_s:g} s: {figures.percentile('ttft_s', 99):.3g} s, {figures.imbalance:.2f}",
                flush=True,
            )
            found.setdefault(title, []).append(figures)
    return found


def picture(found: dict[str, list[Figures]]) -> str:
    """Return an SVG of P99 TTFT and imbalance against the period of telemetry."""
    width, height, gap = 360, 240, 90
    size = f'width="{2 * width + 2 * gap}" height="{height + 110}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    panels = [
        ("P99 of TTFT in s", [[figures.percentile("ttft_s", 99) for figures in row] for row in found.values()]),
        ("most over mean requests in flight", [[figures.imbalance for figures in row] for row in found.values()]),
    ]
    for number, (title, rows) in enumerate(panels):
        left, top = 60 + number * (width + gap), 40
        logs = np.log10(np.array(rows))
        low, high = logs.min() - 0.05, logs.max() + 0.05
        parts.append(f'<text x="{left}" y="24" font-size="14">{title}</text>')
        parts.append(f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#444"/>')
        xs = [left + 20 + (width - 40) * index / (len(PERIODS_S) - 1) for index in range(len(PERIODS_S))]
        for x, period_s in zip(xs, PERIODS_S, strict=True):
            parts.append(
                f'<text x="{x:.0f}" y="{top + height + 16}" text-anchor="middle" fill="#444">{period_s:g}</text>'
            )
        for tick in (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 3, 5, 8, 10, 20, 50, 100):
            if low <= np.log10(tick) <= high:
                y = top + height * (1 - (np.log10(tick) - low) / (high - low))
                parts.append(f'<line x1="{left}" y1="{y:.1f}" x2="{left + width}" y2="{y:.1f}" stroke="#ddd"/>')
                parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#444">{tick:g}</text>')
        for (colour, _), row in zip(HERDING.values(), logs, strict=True):
            ys = [top + height * (1 - (value - low) / (high - low)) for value in row]
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in zip(xs, ys, strict=True)]
        parts.append(
            f'<text x="{left + width / 2:.0f}" y="{top + height + 34}" text-anchor="middle" fill="#444">'
            "period of telemetry in s</text>"
        )
    for number, (name, (colour, _)) in enumerate(HERDING.items()):
        x = 60 + number * 250
        parts.append(f'<rect x="{x}" y="{height + 86}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{x + 18}" y="{height + 96}">{name}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Compare all routing policies.")
    parser.add_argument("traces", type=Path, help="folder of the traces")
    parser.add_argument("--page", type=Path, help="page whose tables are replaced")
    parser.add_argument("--picture", type=Path, help="SVG file of herding to write")
    parser.add_argument("--share", type=float, default=1.0, help="share of the requests, for a quick look")
    parser.add_argument("--only", nargs="*", help="policies to run; default: all")
    options = parser.parse_args(arguments)
    names = options.only or ROUTING_POLICIES.names()
    tables = {}
    for name, workload in workloads(options.traces, options.share).items():
        print(name, flush=True)
        tables[name] = table(workload, names)
    if options.page is not None:
        options.page.write_text(with_tables(options.page.read_text(encoding="utf-8"), tables), encoding="utf-8")
    if options.picture is not None:
        options.picture.write_text(picture(herding(options.share)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
