"""Fit a cost model of large fleets: CPU time per request, sample, window and replica, inline and on Ray.

``python scripts/scale_model.py`` runs small fleets of several sizes inline and on two and four actors of a local Ray
cluster, reads what each run's manifest says about its work, fits the coefficients (none below 0), and prints the
tables as Markdown; ``--inline-only`` leaves Ray out.  It takes about three minutes on two quiet cores.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from bench_cases import LENGTHS, study, synthetic
from scipy.optimize import nnls

from cluster_sim.config.schema.study import Study
from cluster_sim.options import BASE_DIRECTORY
from cluster_sim.simulation.run import run_study
from cluster_sim.simulation.run_options import RunOptions

FloatArray = npt.NDArray[np.float64]

TERMS: Final = ("request", "sample", "window", "replica")
SIZES: Final = ((64, 20), (256, 6), (1024, 2))
"""Replicas, and simulated seconds."""
RATE: Final = 5.0
"""Requests per second and replica, about half of what one serves."""
PERIOD_S: Final = 0.05
DAY_S: Final = 86_400
DAY_REQUESTS: Final = 2.5e9


class Point(NamedTuple):
    """One run: what there was of each term, and what it cost."""

    counts: tuple[float, ...]
    router_s: float
    groups_s: float
    wall_s: float
    sent_bytes: float
    received_bytes: float
    actors: int


def measure(policy: str, replicas: int, seconds: int, actors: int) -> Point:
    """Run one fleet, inline if ``actors`` is 0."""
    load = synthetic(round(RATE * replicas * seconds), RATE * replicas, LENGTHS)
    own = {"run": {"actors": actors}} if actors else {}
    document = study(load, policy, replicas=replicas, **own)
    checked = Study.model_validate(document, context={BASE_DIRECTORY: Path.cwd()})
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "run"
        run_study(checked, RunOptions(executor="ray" if actors else "inline", out=out))
        manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
        summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    work, traffic = manifest["work"], manifest["traffic"]
    requests = summary["requests"]["total"]
    counts = (requests, max(traffic["messages"] - requests, 0), traffic["windows"], replicas)
    times = work["router_cpu_s"], sum(work["group_cpu_s"]), manifest["wall_s"]
    return Point(counts, *times, work["sent_bytes"], work["received_bytes"], actors)


def fitted(points: Sequence[Point], values: Sequence[float]) -> FloatArray:
    """Return seconds per term that fit best relative to each value, none negative."""
    rows = np.array([point.counts for point in points], np.float64)
    scale = np.array(values, np.float64)
    coefficients: FloatArray = nnls(rows / scale[:, None], np.ones(len(points)))[0]
    return coefficients


class Model(NamedTuple):
    """Seconds per term."""

    inline: FloatArray
    router: FloatArray
    groups: FloatArray


def predicted(model: Model, replicas: float, seconds: float, workers: int, *, sees: bool) -> tuple[float, float, float]:
    """Return wall seconds (inline; on ``workers`` at least and at most) of a fleet whose router sees telemetry or not.

    At least: router and groups overlap fully.  At most: they take turns.
    """
    requests = RATE * replicas * seconds
    rounds = seconds / PERIOD_S if sees else max(requests / 8192, 1.0)
    samples = replicas * rounds * _SEEN if sees else 0.0
    inline = float(model.inline @ np.array([requests, samples, rounds, replicas]))
    terms = np.array([requests, samples, rounds * workers, replicas])
    router, groups = float(model.router @ terms), float(model.groups @ terms) / workers
    return inline, max(router, groups), router + groups


_SEEN: Final = 0.9
"""Share of the replicas whose state differs from one sample to the next, as measured at ``RATE``."""


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    for unit, size in (("d", DAY_S), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.3g} s"


def print_model(points: Sequence[Point], model: Model) -> None:
    """Print the coefficients, how well they fit, and bytes."""
    print("| microseconds per | inline | router on Ray | actor with replicas |\n|---|---|---|---|")
    for index, term in enumerate(TERMS):
        print(f"| {term} | " + " | ".join(f"{part[index] * 1e6:,.1f}" for part in model) + " |")
    errors = []
    for point in points:
        counts = np.array(point.counts)
        pairs = (
            ((model.router, point.router_s), (model.groups, point.groups_s))
            if point.actors
            else ((model.inline, point.router_s),)
        )
        errors += [abs(float(part @ counts) / value - 1) for part, value in pairs]
    print(
        f"\nThe fit differs from the {len(points)} runs by {np.median(errors):.0%} (median), {max(errors):.0%} at most."
    )
    on_ray = [point for point in points if point.actors]
    for name in ("sent_bytes", "received_bytes") if on_ray else ():
        bytes_of = fitted(on_ray, [getattr(point, name) for point in on_ray])
        print(f"{name}: " + ", ".join(f"{bytes_of[at]:,.0f} a {term}" for at, term in enumerate(TERMS[:3])))


def print_predictions(model: Model) -> None:
    """Print the predictions of the page."""
    for sees, policy in ((False, "round robin"), (True, f"telemetry every {PERIOD_S * 1e3:g} ms")):
        print(f"\n60 simulated seconds at {RATE:g} requests/s and replica, {policy}:\n")
        print("| replicas | inline | 16 workers | 64 workers | 256 workers |\n|---|---|---|---|---|")
        for replicas in (10_000, 100_000, 1_000_000):
            cells = [duration(predicted(model, replicas, 60, 16, sees=sees)[0])]
            for workers in (16, 64, 256):
                _, least, most = predicted(model, replicas, 60, workers, sees=sees)
                cells.append(f"{duration(least)} to {duration(most)}")
            print(f"| {replicas:,} | " + " | ".join(cells) + " |")
    replicas = DAY_REQUESTS / DAY_S / RATE
    print(f"\nA day of {DAY_REQUESTS / 1e9:g} billion requests on {replicas:,.0f} replicas:\n")
    print("| router | inline | 16 workers | 64 workers | 256 workers |\n|---|---|---|---|---|")
    for sees, policy in ((False, "round robin"), (True, "telemetry")):
        cells = [duration(predicted(model, replicas, DAY_S, 16, sees=sees)[0])]
        for workers in (16, 64, 256):
            _, least, most = predicted(model, replicas, DAY_S, workers, sees=sees)
            cells.append(f"{duration(least)} to {duration(most)}")
        print(f"| {policy} | " + " | ".join(cells) + " |")


def main() -> None:
    """Measure, fit, predict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inline-only", action="store_true", help="leave Ray out")
    arguments = parser.parse_args()
    measure("round_robin", 8, 5, 0)
    plan = [(0, size) for size in SIZES]
    if not arguments.inline_only:
        plan += [(2, size) for size in SIZES[1:]] + [(4, SIZES[1])]
    points = []
    for actors, (replicas, seconds) in plan:
        for policy in ("round_robin", "least_loaded"):
            print(f"{replicas} replicas, {policy}, {actors or 'no'} actors", file=sys.stderr)
            points.append(measure(policy, replicas, seconds, actors))
    inline = [point for point in points if not point.actors]
    on_ray = [point for point in points if point.actors] or inline
    model = Model(
        fitted(inline, [point.router_s for point in inline]),
        fitted(on_ray, [point.router_s for point in on_ray]),
        fitted(on_ray, [max(point.groups_s, 1e-9) for point in on_ray]),
    )
    print_model(points, model)
    if not arguments.inline_only:
        print_predictions(model)


if __name__ == "__main__":
    main()
