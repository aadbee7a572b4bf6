"""A day of load with every kind of scaler against an oracle: the table and the picture of ``docs/autoscaling.md``.

    python scripts/autoscaling_day.py [--page docs/autoscaling.md] [--picture docs/images/autoscaling-day.svg]

The day lasts two hours: the load is compressed twelvefold, while every scaler keeps its own periods and windows.  Time
over the objective is the share of half minutes in which more than 5 % of the requests that arrive wait longer than 1 s
for their first token, or never get it.
"""

import argparse
import re
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq

from cluster_sim.config.loading.load import load_study
from cluster_sim.simulation.run import run_study
from cluster_sim.simulation.run_options import RunOptions

HOURLY: Final = (
    *(0.25, 0.18, 0.15, 0.13, 0.13, 0.16, 0.25, 0.42, 0.65, 0.85, 0.95, 1.0),
    *(0.92, 0.95, 1.0, 0.98, 0.92, 0.85, 0.75, 0.68, 0.62, 0.55, 0.45, 0.33),
)
"""Load at each hour over that of the busiest; between two hours it changes evenly."""
PEAK_PER_S: Final = 5.0
BURST_HOURS: Final = (15.0, 15.4)
BURST_FACTOR: Final = 1.7
DAY_S: Final = 7200.0
TTFT_S: Final = 1.0
MISSES: Final = 0.05
BIN_S: Final = 30.0
MOST: Final = 12

STUDY: Final = """\
name: day
workload:
  kind: synthetic
  duration_s: {day_s}
  arrivals: {{kind: piecewise, path: rates.csv}}
  lengths:
    prompt: {{kind: lognormal, mean: 1500, std: 1200, min: 16, max: 6000}}
    output: {{kind: lognormal, mean: 250, std: 200, min: 4, max: 1000}}
fleet:
  pools:
    - name: main
      model: llama-3-70b
      device: h100-sxm
      tensor_parallel: 4
      replicas: {replicas}
      engine: {{max_num_seqs: 4}}
      cold_start: {{weights_gb_per_s: 10, compile_s: 10}}
router: {{policy: least_outstanding}}
predictor: {{kind: roofline}}
run: {{series_interval_s: 0, warmup: {{kind: none}}, measure: {{kind: none}}}}
"""

BOUNDS: Final = f"min_replicas: 1, max_replicas: {MOST}"
SCALERS: Final = {
    "oracle": f"{{kind: oracle, requests_per_s: 0.55, bin_s: 60, {BOUNDS}}}",
    "hpa": f"{{kind: hpa, metrics: [{{metric: in_flight, target: 3}}], {BOUNDS}}}",
    "knative": f"{{kind: knative, target: 4, {BOUNDS}}}",
    "ray_serve": f"{{kind: ray_serve, target_ongoing_requests: 3, {BOUNDS}}}",
    "llm_d_variant": f"{{kind: llm_d_variant, {BOUNDS}}}",
    "dynamo_planner": f"{{kind: dynamo_planner, {BOUNDS}, "
    "prefill_profile: [{prompt_tokens: 1500, tokens_per_s: 3750, ttft_ms: 100}], "
    "decode_profile: [{context_tokens: 1625, itl_ms: 17, tokens_per_s: 58}]}",
}
"""The autoscaler of each run; targets leave a quarter of a replica's 4 slots free, all else are defaults."""
NAMES: Final = {
    "fixed": "fixed fleet",
    "oracle": "oracle",
    "hpa": "Kubernetes HPA",
    "knative": "Knative",
    "ray_serve": "Ray Serve",
    "llm_d_variant": "llm-d variant autoscaler",
    "dynamo_planner": "Dynamo planner",
}
COLOURS: Final = ("#888888", "#111111", "#1f5fa8", "#3a8f3a", "#c0392b", "#8e44ad", "#b9770e")
LEFT, TOP, WIDTH, PANEL, GAP = 190, 34, 560, 62, 18


@dataclass(frozen=True)
class Day:
    """One run of the day."""

    name: str
    gpu_hours: float
    over_ratio: float
    """Share of the time over the objective."""
    ttft_p99_s: float
    failed: int
    joined: int
    mean_replicas: float
    steps: tuple[tuple[float, int], ...]
    """(time in s, replicas that exist) after every change."""


def rate_at(hour: float) -> float:
    """Return the requests per second at an hour of the day."""
    first = int(hour) % 24
    part = hour - int(hour)
    level = HOURLY[first] * (1 - part) + HOURLY[(first + 1) % 24] * part
    return PEAK_PER_S * level * (BURST_FACTOR if BURST_HOURS[0] <= hour < BURST_HOURS[1] else 1.0)


def run_day(day_s: float, job: tuple[str, int, str | None]) -> Day:
    """Run the day with a scaler (None: a fixed fleet), from so many replicas on."""
    name, replicas, scaler = job
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        rows = [f"{hour / 24 * day_s},{rate_at(hour)}" for hour in np.arange(0, 24, 0.1)]
        (folder / "rates.csv").write_text("start_s,request_rate\n" + "\n".join(rows) + "\n", encoding="utf-8")
        text = STUDY.format(day_s=day_s, replicas=replicas)
        study = folder / "day.yaml"
        study.write_text(text + (f"autoscaler: {scaler}\n" if scaler else ""), encoding="utf-8")
        result = run_study(load_study(study), RunOptions(executor="inline", out=folder / "run"))
        table = pq.read_table(result.directory / "requests.parquet", columns=["arrival_s", "ttft_s"])
        arrivals = table["arrival_s"].to_numpy()
        ttft = table["ttft_s"].to_numpy(zero_copy_only=False).astype(float)
    return day_of(name, result.summary, arrivals, ttft)


def day_of(name: str, summary: dict[str, Any], arrivals_s: Any, ttft_s: Any) -> Day:
    """Return the figures of a run; a missing TTFT is a miss."""
    is_missed = ~(ttft_s <= TTFT_S)
    bins = (arrivals_s // BIN_S).astype(int)
    counts, misses = np.bincount(bins), np.bincount(bins, weights=is_missed)
    changes = []
    for replica in summary["replicas"]:
        if replica["joined_s"] is not None:
            changes.append((replica["joined_s"], 1))
            changes += [(replica["left_s"], -1)] if replica["left_s"] is not None else []
    present, steps = 0, []
    for time_s, change in sorted(changes):
        present += change
        steps.append((time_s, present))
    pool = summary["pools"][0]
    return Day(
        name,
        summary["gpu_hours"],
        float((misses > MISSES * counts)[counts > 0].mean()),
        summary["ttft_s"]["p99"],
        summary["requests"]["failed"],
        sum(time_s > 0 for time_s, change in changes if change > 0),
        pool["mean_replicas"],
        tuple(steps),
    )


def table_of(days: Sequence[Day]) -> str:
    """Return the table of the page."""
    oracle = next(day for day in days if day.name == "oracle")
    lines = [
        "| scaler | GPU-hours | to the oracle | time over the objective | TTFT p99 | mean replicas | joined | failed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {NAMES[day.name]} | {day.gpu_hours:.1f} | {day.gpu_hours / oracle.gpu_hours - 1:+.0%} | "
        f"{day.over_ratio:.1%} | {day.ttft_p99_s:.2f} s | {day.mean_replicas:.1f} | {day.joined} | {day.failed} |"
        for day in days
    ]
    return "\n".join(lines) + "\n"


def picture_of(days: Sequence[Day], day_s: float) -> str:
    """Return the picture: load, and replicas over the day for each scaler."""
    height = TOP + (len(days) + 1) * (PANEL + GAP) + 24
    hours = np.arange(0, 24.01, 0.1)
    load = [(hour / 24 * day_s, rate_at(min(hour, 23.99))) for hour in hours]
    highest = max(rate for _, rate in load)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 20}" height="{height}">',
        "<style>text {font: 12px sans-serif}</style>",
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{LEFT}" y="18" font-size="13">A day of load, and the replicas that exist</text>',
    ]
    parts += _panel(0, f"load, up to {highest:.0f}/s", load, highest, "#555555", day_s)
    for index, (day, colour) in enumerate(zip(days, COLOURS, strict=False), 1):
        outline = [(0.0, 0)]
        for before, after in pairwise([(0.0, 0), *day.steps, (day_s, 0)]):
            outline += [(min(after[0], day_s), before[1]), (min(after[0], day_s), after[1])]
        title = f"{NAMES[day.name]}|{day.gpu_hours:.1f} GPU-hours|{day.over_ratio:.1%} of the time over"
        parts += _panel(index, title, outline, MOST, colour, day_s)
    bottom = TOP + (len(days) + 1) * (PANEL + GAP)
    for hour in range(0, 25, 4):
        x = LEFT + WIDTH * hour / 24
        parts.append(f'<text x="{x:.1f}" y="{bottom}" text-anchor="middle" fill="#555">{hour}:00</text>')
    return "\n".join([*parts, "</svg>", ""])


def _panel(
    index: int, title: str, points: Sequence[tuple[float, float]], highest: float, colour: str, day_s: float
) -> list[str]:
    """Return one row of the picture."""
    top = TOP + index * (PANEL + GAP)
    path = " ".join(
        f"{LEFT + WIDTH * time_s / day_s:.1f},{top + PANEL * (1 - value / highest):.1f}" for time_s, value in points
    )
    lines = [
        f'<text x="{LEFT - 10}" y="{top + 16 + 15 * line}" text-anchor="end">{text}</text>'
        for line, text in enumerate(title.split("|"))
    ]
    frame = f'<rect x="{LEFT}" y="{top}" width="{WIDTH}" height="{PANEL}" fill="none" stroke="#ddd"/>'
    area = f"{LEFT},{top + PANEL} {path} {LEFT + WIDTH},{top + PANEL}"
    return [*lines, frame, f'<polygon points="{area}" fill="{colour}" fill-opacity="0.25" stroke="{colour}"/>']


def with_table(page: str, table: str) -> str:
    """Return a page with the table between its marks made anew."""
    return re.sub(
        r"(<!-- day of load -->\n).*?(<!-- end of day -->)", lambda m: m[1] + table + m[2], page, flags=re.DOTALL
    )


def main() -> int:
    """Run every day, and write the table and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, help="page whose table is made anew")
    parser.add_argument("--picture", type=Path, help="SVG file")
    parser.add_argument("--day-s", type=float, default=DAY_S, help="simulated seconds of the day")
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    jobs: list[tuple[str, int, str | None]] = [
        ("fixed", MOST, None),
        *((name, 2, text) for name, text in SCALERS.items()),
    ]
    with ProcessPoolExecutor(arguments.processes) as executor:
        days = list(executor.map(partial(run_day, arguments.day_s), jobs))
    table = table_of(days)
    print(table)
    if arguments.page:
        arguments.page.write_text(with_table(arguments.page.read_text(encoding="utf-8"), table), encoding="utf-8")
    if arguments.picture:
        arguments.picture.write_text(picture_of(days, arguments.day_s), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
