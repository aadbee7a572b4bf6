"""Draws TTFT and TPOT against the share of GPUs that compute prompts, for ``docs/handover.md``.

    python scripts/plot_handover.py docs/images/handover-knee.svg

The study is ``conf/studies/prefill_decode.yaml``; its eight replicas are divided in every way, and serve whole requests
for comparison.
"""

import argparse
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cluster_sim.config.loading.load import load_study
from cluster_sim.simulation.executor import RunOutputs
from cluster_sim.simulation.inline import InlineExecutor
from cluster_sim.simulation.plan import make_plan
from cluster_sim.units import NS_PER_MS

STUDY = Path(__file__).resolve().parent.parent / "conf/studies/prefill_decode.yaml"
REPLICAS = 8
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 640, 300, 60, 20, 50
PERCENTILES = ((50, "median"), (99, "99th percentile"))
FIGURES = (("TTFT", "#b2182b"), ("TPOT", "#2166ac"))


def main() -> int:
    """Run the study in every division and write the picture; print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    divided = {count: figures(count) for count in range(1, REPLICAS)}
    whole = figures(0)
    for count, found in {0: whole, **divided}.items():
        print(count, {f"{name} p{rank}": round(value, 1) for (name, rank), value in found.items()})
    options.picture.write_text(drawing(divided, whole), encoding="utf-8")
    return 0


def figures(prefill_replicas: int) -> dict[tuple[str, int], float]:
    """Return percentiles of TTFT and TPOT in ms; 0 replicas for prompts serve whole requests with all."""
    overrides = [f"fleet.pools.0.replicas={prefill_replicas}", f"fleet.pools.1.replicas={REPLICAS - prefill_replicas}"]
    if not prefill_replicas:
        overrides = [f"fleet.pools=[{{model: llama-3.1-8b, device: h100-sxm, replicas: {REPLICAS}}}]"]
    simulation = replace(make_plan(load_study(STUDY, overrides)).simulation(), keeps_rows=True)
    blocks = InlineExecutor().run(simulation, RunOutputs()).hub.rows or []

    def column(name: str) -> Any:
        return np.concatenate([block.column(name) for block in blocks])

    first_ns, finish_ns, outputs = column("first_token_ns"), column("finish_ns"), column("output_tokens")
    values = {
        "TTFT": (first_ns - column("arrival_ns")) / NS_PER_MS,
        "TPOT": ((finish_ns - first_ns) / NS_PER_MS / np.maximum(outputs - 1, 1))[outputs > 1],
    }
    return {
        (name, rank): float(np.percentile(found, rank)) for name, found in values.items() for rank, _ in PERCENTILES
    }


def drawing(divided: dict[int, dict[tuple[str, int], float]], whole: dict[tuple[str, int], float]) -> str:
    """Return the SVG: a line for each figure and percentile over the number of prefill replicas, ms on a log scale."""

    def across(count: float) -> float:
        return LEFT + (count - 0.5) / REPLICAS * (WIDTH - LEFT - 130)

    def down(value_ms: float) -> float:
        return TOP + (5 - math.log10(value_ms)) / 5 * (HEIGHT - TOP - BOTTOM)

    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="11"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size}><rect width="100%" height="100%" fill="white"/>']
    for power in range(6):
        y = down(10**power)
        label = f"{10**power} ms" if power < 3 else f"{10 ** (power - 3)} s"
        parts.append(f'<path d="M{LEFT} {y:.1f}H{across(REPLICAS):.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    parts += [
        f'<text x="{across(count):.1f}" y="{HEIGHT - 32}" text-anchor="middle">{count}/{REPLICAS}</text>'
        for count in divided
    ]
    middle, words = (across(1) + across(REPLICAS - 1)) / 2, "share of GPUs that compute prompts"
    parts.append(f'<text x="{middle:.1f}" y="{HEIGHT - 12}" text-anchor="middle">{words}</text>')
    for name, colour in FIGURES:
        for rank, words in PERCENTILES:
            points = [(across(count), down(found[name, rank])) for count, found in divided.items()]
            dash = "" if rank == PERCENTILES[0][0] else ' stroke-dasharray="5 3"'
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
            parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.6"{dash}/>')
            y = down(whole[name, rank])
            parts.append(f'<path d="M{across(0.6):.1f} {y:.1f}h12" stroke="{colour}" stroke-width="3"{dash}/>')
            parts.append(
                f'<text x="{points[-1][0] + 8:.1f}" y="{points[-1][1] + 4:.1f}" fill="{colour}">{name}, {words}</text>'
            )
    return "".join(parts) + "</svg>\n"


if __name__ == "__main__":
    sys.exit(main())
