"""Bias of the mean-field estimate (``run.detail: estimate``): its mean TPOT against that of full runs.

    python scripts/estimate_bias.py --write docs/scale.md

Every case is run at shares of the highest load that the estimate gives for it.  The table has the difference in percent
of the full run's figure, then the mean and the largest of their sizes up to 80 % and near saturation (90 and 95 %), and
how many times quicker the estimate is.  ``simulation/mean_field/measured_bias.py`` states the figures in every summary.
"""

import time
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import numpy as np
import typer

from cluster_sim.config.schema.study import Study
from cluster_sim.simulation.mean_field.estimate import estimate
from cluster_sim.simulation.mean_field.estimate_figures import estimate_summary
from cluster_sim.study.replications import replicate

SHARES: Final = (0.2, 0.4, 0.6, 0.8, 0.9, 0.95)
NEAR: Final = 0.8
"""Shares of the highest load above it are near saturation."""
CHAT: Final = {
    "prompt": {"kind": "lognormal", "mean": 1000, "std": 500, "max": 8000},
    "output": {"kind": "lognormal", "mean": 250, "std": 150, "max": 2000},
}
AZURE: Final = {
    "prompt": {"kind": "lognormal", "mean": 1259, "std": 1535, "min": 2, "max": 7000},
    "output": {"kind": "lognormal", "mean": 222, "std": 201, "min": 7, "max": 1000},
}
MARKS: Final = ("<!-- estimate bias -->", "<!-- end of estimate bias -->")


class Case(NamedTuple):
    """One fleet and the lengths of its requests."""

    engine: str
    model: str
    tensor_parallel: int
    replicas: int
    lengths: dict[str, Any]
    device: str = "h100-sxm"

    @property
    def label(self) -> str:
        """What the table says of it."""
        lengths = "chat" if self.lengths is CHAT else "Azure"
        return f"{self.engine}, {self.replicas} x {self.model} TP {self.tensor_parallel}, {self.device}, {lengths}"

    def study(self, rate_per_s: float, requests: int) -> Study:
        """Return the study of the case at a rate."""
        pool = {
            "model": self.model,
            "device": self.device,
            "replicas": self.replicas,
            "tensor_parallel": self.tensor_parallel,
            "engine": {"kind": self.engine},
        }
        return Study.from_dict(
            {
                "name": "bias",
                "workload": {
                    "kind": "synthetic",
                    "count": requests,
                    "arrivals": {"kind": "poisson", "request_rate": rate_per_s},
                    "lengths": self.lengths,
                },
                "fleet": {"pools": [pool]},
                "run": {
                    "series_interval_s": 0,
                    "warmup": {"kind": "requests", "requests": requests // 5},
                    "measure": {"kind": "auto"},
                },
            }
        )


CASES: Final = (
    Case("vllm_v1", "llama-3-8b", 1, 1, CHAT),
    Case("vllm_v1", "llama-3-8b", 1, 8, CHAT),
    Case("vllm_v1", "llama-3.1-70b", 4, 2, AZURE),
    Case("vllm_v1", "mixtral-8x7b", 2, 2, CHAT),
    Case("vllm_v1", "llama-3-8b", 1, 2, AZURE, "a100-80gb"),
    Case("sglang", "llama-3-8b", 1, 2, CHAT),
    Case("sarathi", "llama-3-8b", 1, 2, CHAT),
    Case("vllm_v0", "llama-3-8b", 1, 2, CHAT),
)


def main(
    requests: Annotated[int, typer.Option(min=100, help="Requests of each run.")] = 4000,
    write: Annotated[Path | None, typer.Option(help="Page to put the table into.")] = None,
) -> None:
    """Measure the bias and print it as a table."""
    biases: dict[float, list[float]] = {share: [] for share in SHARES}
    times_quicker: list[float] = []
    lines = [
        f"| fleet and requests | {' | '.join(f'{share:.0%}' for share in SHARES)} |",
        f"|---|{'---|' * len(SHARES)}",
    ]
    for case in CASES:
        most_per_s = estimate(case.study(1.0, requests)).pools[0].most_rate_per_s * case.replicas
        row = []
        for share in SHARES:
            bias, ratio = compare(case.study(share * most_per_s, requests))
            biases[share].append(bias)
            times_quicker.append(ratio)
            row.append(f"{bias:+.1f}")
        lines.append(f"| {case.label} | {' | '.join(row)} |")
        typer.echo(lines[-1], err=True)
    low = np.abs([bias for share, found in biases.items() if share <= NEAR for bias in found])
    near = np.abs([bias for share, found in biases.items() if share > NEAR for bias in found])
    sizes = (
        f"Mean size of the bias up to {NEAR:.0%}: {low.mean():.1f}% (largest {low.max():.1f}%); near saturation: "
        f"{near.mean():.1f}% (largest {near.max():.1f}%). The estimate is {np.median(times_quicker):.0f} times quicker "
        f"than the full run (median; {min(times_quicker):.1f} to {max(times_quicker):.0f})."
    )
    table = "\n".join([*lines, "", sizes])
    typer.echo(table)
    if write is not None:
        page = write.read_text(encoding="utf-8")
        before, rest = page.split(MARKS[0])
        _, after = rest.split(MARKS[1])
        write.write_text(f"{before}{MARKS[0]}\n\n{table}\n\n{MARKS[1]}{after}", encoding="utf-8")


def compare(study: Study) -> tuple[float, float]:
    """Return the bias of the mean TPOT in percent, and how many times quicker the estimate is."""
    began_s = time.perf_counter()
    estimated_s = estimate_summary(estimate(study))["tpot_s"]["mean"]
    middle_s = time.perf_counter()
    full = replicate(study, 1, has_summary=False).mean("tpot_s")
    end_s = time.perf_counter()
    assert full is not None
    return 100 * (estimated_s / full.value - 1), (end_s - middle_s) / (middle_s - began_s)


if __name__ == "__main__":
    typer.run(main)
