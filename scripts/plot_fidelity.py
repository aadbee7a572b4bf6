"""Draws the pictures of ``docs/fidelity.md`` from the scoreboard's file.

    python scripts/plot_fidelity.py OUT.json docs/images

One row per data set and metric, one dot per configuration, at its signed error; the band is the target, the small
triangles the best other simulator's mean error.  Only errors are drawn: the measurements stay where they are.  Of
aiconfigurator's rows, which are published, simulated TPOT is drawn over the measured.
"""

import argparse
import json
import math
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

METRICS = (("ttft_mean", "TTFT"), ("tpot_mean", "TPOT"), ("e2e_mean", "E2E"), ("tokens_per_s", "tokens/s"))
TITLES = {
    "blis-vllm015-aggregates": "vLLM 0.15, aggregates",
    "blis-vllm015-h100-requests": "vLLM 0.15, requests",
    "residency-qwen3-14b-vllm023": "vLLM 0.23, residency",
    "llmservingsim-bench-vllm019": "vLLM 0.19, RTX PRO 6000",
    "llmservingsim-ispass26-vllm013": "vLLM 0.13, ISPASS",
    "apex-vllm060-8xh100": "vLLM 0.6, APEX",
}
TARGETS = {
    ("blis-vllm015-aggregates", "ttft_mean"): 5,
    ("blis-vllm015-aggregates", "tpot_mean"): 3,
    ("blis-vllm015-aggregates", "e2e_mean"): 3,
    ("blis-vllm015-h100-requests", "ttft_mean"): 5,
    ("blis-vllm015-h100-requests", "tpot_mean"): 3,
    ("blis-vllm015-h100-requests", "e2e_mean"): 3,
    ("residency-qwen3-14b-vllm023", "ttft_mean"): 5,
    ("residency-qwen3-14b-vllm023", "tpot_mean"): 2,
    ("residency-qwen3-14b-vllm023", "e2e_mean"): 2,
    ("llmservingsim-bench-vllm019", "ttft_mean"): 5,
    ("llmservingsim-bench-vllm019", "tpot_mean"): 4,
    ("llmservingsim-bench-vllm019", "e2e_mean"): 4,
    ("llmservingsim-ispass26-vllm013", "ttft_mean"): 12,
    ("llmservingsim-ispass26-vllm013", "tpot_mean"): 5,
    ("llmservingsim-ispass26-vllm013", "tokens_per_s"): 4,
    ("apex-vllm060-8xh100", "ttft_mean"): 20,
    ("apex-vllm060-8xh100", "tpot_mean"): 8,
}
LEFT, WIDTH, ROW, TOP = 250, 620, 24, 46
SILICON = "aic-silicon-e2e"
ENGINES = {"vllm": ("vLLM", "#1f5fa8"), "trtllm": ("TensorRT-LLM", "#3a8f3a"), "sglang": ("SGLang", "#c0392b")}
"""Engines by the part of a row's name, with title and colour."""
DECADES = (2.0, 200.0)
"""Ends of both axes of the silicon picture, ms."""
SIDE = 420
DASHED = 'stroke-dasharray="4 4"'
LIMIT = 40.0
"""Errors beyond this are drawn at the edge."""


@dataclass
class Row:
    """One line of a picture."""

    title: str
    errors: list[float] = field(default_factory=list)
    target: float | None = None
    peer: float | None = None


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Draw the errors of a scoreboard.")
    parser.add_argument("scores", type=Path, help="the scoreboard's file")
    parser.add_argument("folder", type=Path, help="where the pictures go")
    options = parser.parse_args(arguments)
    result = json.loads(options.scores.read_text(encoding="utf-8"))
    options.folder.mkdir(parents=True, exist_ok=True)
    draw(options.folder / "fidelity-frozen.svg", "Signed error by run, frozen profiles", rows_of(result))
    draw_silicon(options.folder / "fidelity-silicon.svg", [run for run in result["runs"] if run["dataset"] == SILICON])
    for scheme, board in result.get("cross_validation", {}).items():
        name = "fidelity-" + scheme.replace(" ", "-") + ".svg"
        draw(options.folder / name, f"Signed error by run, {scheme} and refitted", rows_of(board | {"peers": {}}))
    return 0


def rows_of(result: dict[str, Any]) -> list[Row]:
    """Return a row for each data set and metric that has a target."""
    errors: dict[tuple[str, str], list[float]] = defaultdict(list)
    for run in result["runs"]:
        errors[run["dataset"], run["metric"]].append(100.0 * (run["simulated"] / run["measured"] - 1.0))
    rows = []
    for (dataset, metric), target in TARGETS.items():
        if (dataset, metric) in errors:
            label = dict(METRICS)[metric]
            peers = [peer[metric] for peer in result["peers"].get(dataset, {}).values() if metric in peer]
            rows.append(Row(f"{TITLES[dataset]}: {label}", errors[dataset, metric], target, min(peers, default=None)))
    return rows


def place(error: float) -> float:
    """Return the x coordinate of an error."""
    return LEFT + (max(-LIMIT, min(LIMIT, error)) + LIMIT) / (2 * LIMIT) * WIDTH


def draw(path: Path, title: str, rows: list[Row]) -> None:
    """Write one picture."""
    height = TOP + ROW * len(rows) + 40
    size = f'width="{LEFT + WIDTH + 30}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="14">{title}</text>',
    ]
    bottom = TOP + ROW * len(rows)
    for tick in range(-40, 41, 10):
        x = place(tick)
        colour = "#444" if tick == 0 else "#ddd"
        parts.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}" stroke="{colour}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle" fill="#444">{tick:+d} %</text>')
    for number, row in enumerate(rows):
        y = TOP + ROW * (number + 0.5)
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{row.title}</text>')
        if row.target is not None:
            x, width = place(-row.target), place(row.target) - place(-row.target)
            parts.append(
                f'<rect x="{x:.1f}" y="{y - 8:.1f}" width="{width:.1f}" height="16" fill="#9fd3a8" opacity="0.5"/>'
            )
        if row.peer is not None:
            for side in (-row.peer, row.peer):
                x = place(side)
                parts.append(f'<path d="M{x - 4:.1f} {y - 9:.1f} h8 l-4 7 z" fill="#c0392b"/>')
        parts += [
            f'<circle cx="{place(error):.1f}" cy="{y:.1f}" r="3.2" fill="#1f5fa8" opacity="0.65"/>'
            for error in row.errors
        ]
    parts.append(
        f'<text x="{LEFT}" y="{bottom + 34}" fill="#444">dots: runs; green: target for the mean; '
        "red: best other simulator's mean error; beyond 40 % at the edge</text>"
    )
    parts.append("</svg>")
    path.write_text("\n".join(parts) + "\n", encoding="utf-8")


def draw_silicon(path: Path, runs: list[dict[str, Any]]) -> None:
    """Write simulated over measured TPOT on logarithmic axes, with lines of equality and of 15 % either way."""
    low, high = (math.log10(limit) for limit in DECADES)

    def at(value_ms: float) -> float:
        return (min(max(math.log10(value_ms), low), high) - low) / (high - low) * SIDE

    left, bottom = 60, SIDE + 40
    size = f'width="{SIDE + 90}" height="{SIDE + 100}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{left}" y="24" font-size="14">TPOT simulated over measured, ms, nothing fitted</text>',
        f'<rect x="{left}" y="40" width="{SIDE}" height="{SIDE}" fill="none" stroke="#444"/>',
    ]
    for tick in (2, 5, 10, 20, 50, 100, 200):
        place_ = at(tick)
        parts.append(f'<text x="{left + place_:.0f}" y="{bottom + 16}" text-anchor="middle" fill="#444">{tick}</text>')
        parts.append(f'<text x="{left - 6}" y="{bottom - place_ + 4:.0f}" text-anchor="end" fill="#444">{tick}</text>')
    for factor in (0.85, 1.0, 1.15):
        start, end = DECADES[0] * max(1.0, 1.0 / factor), DECADES[1] * min(1.0, 1.0 / factor)
        parts.append(
            f'<line x1="{left + at(start):.1f}" y1="{bottom - at(start * factor):.1f}" x2="{left + at(end):.1f}" '
            f'y2="{bottom - at(end * factor):.1f}" stroke="#999" {"" if factor == 1.0 else DASHED}/>'
        )
    for number, (key, (title, colour)) in enumerate(ENGINES.items()):
        mine = [run for run in runs if f"_{key}_" in run["run"]]
        parts.append(f'<text x="{left + 10}" y="{58 + 16 * number}" fill="{colour}">{title}: {len(mine)} rows</text>')
        parts += [
            f'<circle cx="{left + at(run["measured"] * 1e3):.1f}" cy="{bottom - at(run["simulated"] * 1e3):.1f}" '
            f'r="2" fill="{colour}" opacity="0.5"/>'
            for run in mine
        ]
    parts.append(
        f'<text x="{left}" y="{bottom + 40}" fill="#444">dashed: 15 % either way; beyond the axes at the edge</text>'
    )
    parts.append("</svg>")
    path.write_text("\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
