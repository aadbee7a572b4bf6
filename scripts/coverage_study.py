"""Coverage of the intervals: how often do they hold the truth, and what are common random numbers worth?

    python scripts/coverage_study.py --repeats 1000

Every repeat is a study of an M/M/1 queue, 10 replications of 1,000 requests: Poisson arrivals at half of what one
replica serves, exponential prompts, a step time linear in tokens, one request at a time.  The sojourn in steady state
is exponential with the mean 1 / (mu - lambda), so the truth is known: intervals of 95 % should hold it in 93 to 97 % of
the repeats.  Then two routing policies are compared over replications, in pairs and as independent runs.
"""

import math
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Final

import numpy as np
import typer

from cluster_sim.config.loading.load import load_study
from cluster_sim.config.schema.study import Study
from cluster_sim.metrics.intervals import ratio_of_variances
from cluster_sim.study.replications import replicate, replication_seed

QUEUE: Final = """\
name: queue
workload:
  kind: synthetic
  count: 1000
  arrivals: {kind: poisson, request_rate: 0.5}
  lengths: {prompt: {kind: exponential, mean: 500, min: 1, max: 8000}, output: {kind: fixed, value: 1}}
fleet:
  pools: [{model: llama-3-8b, device: h100-sxm, engine: {kind: orca, max_num_seqs: 1}}]
router: {policy: round_robin}
predictor: {kind: linear, alpha_us: 1, beta_us: 2000}
run: {executor: inline, series_interval_s: 0, warmup: {kind: requests, requests: 100}}
"""
FLEET: Final = """\
name: policies
workload:
  kind: synthetic
  count: 1000
  arrivals: {kind: poisson, request_rate: 12}
  lengths:
    prompt: {kind: lognormal, mean: 1000, std: 800, max: 8000}
    output: {kind: lognormal, mean: 100, std: 80, max: 1000}
fleet:
  pools: [{model: llama-3.1-8b, device: a100-80gb, replicas: 4, engine: {kind: vllm_v1}}]
router: {policy: round_robin}
predictor: {kind: linear, alpha_us: 8000, beta_us: 60}
run: {executor: inline, series_interval_s: 0}
"""
MEAN_SERVICE_S: Final = 1.0
LOAD: Final = 0.5
REPLICATIONS: Final = 10
POLICIES: Final = ("round_robin", "least_outstanding")


def coverage(queue: Study, repeats: int) -> tuple[float, float]:
    """Return the shares of repeats whose intervals hold the true mean and the true 99th percentile of the sojourn."""
    mean_s = MEAN_SERVICE_S / (1 - LOAD)
    truths = (mean_s, mean_s * math.log(100))
    held = np.zeros(2)
    for repeat in range(repeats):
        study = queue.model_copy(update={"seed": replication_seed(20_000 + repeat, 1)})
        found = replicate(study, REPLICATIONS, has_summary=False)
        for index, estimate in enumerate((found.mean("e2e_s"), found.quantile("e2e_s", 0.99))):
            assert estimate is not None
            held[index] += estimate.interval.low <= truths[index] <= estimate.interval.high
    mean, p99 = (held / repeats).tolist()
    return mean, p99


def worth_of_pairs(replications: int) -> dict[str, float]:
    """Return by figure how many times fewer replications a paired comparison of two policies takes."""
    sides = []
    for policy in POLICIES:
        study = _study(FLEET, [f"router.policy={policy}"])
        sides.append(replicate(study, replications, has_summary=False).runs)
    worth = {}
    for metric in ("ttft_s", "tpot_s", "e2e_s"):
        first, second = ([float(run.samples[metric].mean()) for run in runs] for runs in sides)
        worth[f"mean {metric}"] = ratio_of_variances(first, second)
    return worth


def _study(text: str, changes: list[str]) -> Study:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "study.yaml"
        path.write_text(text, encoding="utf-8")
        return load_study(path, changes)


def main(
    repeats: Annotated[int, typer.Option(min=10, help="Repeats of the study of the queue.")] = 1000,
    replications: Annotated[int, typer.Option(min=3, help="Replications of each policy.")] = 30,
) -> None:
    """Measure the coverage of the intervals, and the worth of common random numbers."""
    started_s = time.process_time()
    mean, p99 = coverage(_study(QUEUE, []), repeats)
    cpu_s = time.process_time() - started_s
    typer.echo(
        f"{repeats} repeats in {cpu_s:.0f} s of CPU: intervals of 95 % hold the mean in {mean:.1%}, p99 in {p99:.1%}"
    )
    worth = worth_of_pairs(replications)
    text = ", ".join(f"{figure} {times:.1f}" for figure, times in worth.items())
    typer.echo(f"{' against '.join(POLICIES)}: times fewer replications in pairs: {text}")


if __name__ == "__main__":
    typer.run(main)
