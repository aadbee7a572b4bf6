"""Fit a cost model of large fleets: CPU time per request, sample, window and replica, inline and on Ray.

``python scripts/scale_model.py`` runs small fleets of several sizes inline and on two and four actors of a local Ray
cluster, reads what each run's manifest says about its work, fits the coefficients (none below 0), and prints tables as
Markdown; ``--write docs/scale.md`` puts them into the page.  It takes about three minutes on two quiet cores.
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
RUN_AHEAD: Final = 8192
"""Messages after which a router that needs no knowledge waits for its replicas (``engine/coordinator.py``)."""
WORKERS: Final = (16, 64, 256)
FLEETS: Final = (10_000, 100_000, 1_000_000)
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
    periods: float
    """Periods of telemetry while requests arrive."""


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
    return Point(counts, *times, work["sent_bytes"], work["received_bytes"], actors, seconds / PERIOD_S)


def fitted(points: Sequence[Point], values: Sequence[float]) -> FloatArray:
    """Return seconds per term that fit best relative to each value, none negative."""
    rows = np.array([point.counts for point in points], np.float64)
    scale = np.array(values, np.float64)
    coefficients: FloatArray = nnls(rows / scale[:, None], np.ones(len(points)))[0]
    return coefficients


class Model(NamedTuple):
    """Seconds per term of each kind of process, and what telemetry brings."""

    inline: FloatArray
    router: FloatArray
    groups: FloatArray
    samples: float
    """Samples of a replica in a period of telemetry: one whose state has not changed sends none."""
    windows: float
    """Windows of an actor in a period."""


def predicted(model: Model, replicas: float, seconds: float, workers: int, *, sees: bool) -> tuple[float, float, float]:
    """Return wall seconds (inline; on ``workers`` at least and at most) of a fleet whose router sees telemetry or not.

    At least: router and groups overlap fully.  At most: they take turns.
    """
    requests, periods = RATE * replicas * seconds, seconds / PERIOD_S
    samples = replicas * periods * model.samples if sees else 0.0
    windows = periods * model.windows if sees else max(requests / RUN_AHEAD, 1.0)
    inline = float(model.inline @ np.array([requests, samples, windows, replicas]))
    terms = np.array([requests, samples, windows * workers, replicas])
    router, groups = float(model.router @ terms), float(model.groups @ terms) / workers
    return inline, max(router, groups), router + groups


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    for unit, size in (("d", DAY_S), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.3g} s"


def cells_of(model: Model, replicas: float, seconds: float, *, sees: bool) -> str:
    """Return a row's predictions, inline and on each number of workers."""
    cells = [duration(predicted(model, replicas, seconds, 1, sees=sees)[0])]
    for workers in WORKERS:
        _, least, most = predicted(model, replicas, seconds, workers, sees=sees)
        cells.append(f"{duration(least)} to {duration(most)}")
    return " | ".join(cells)


def coefficients(points: Sequence[Point], model: Model) -> list[str]:
    """Return the coefficients, bytes, and how well they fit, as lines of the page."""
    lines = ["| microseconds per | inline | router on Ray | actors with replicas |", "|---|---|---|---|"]
    for index, term in enumerate(TERMS):
        values = (part[index] * 1e6 for part in (model.inline, model.router, model.groups))
        lines.append(f"| {term} | " + " | ".join(f"{value:,.1f}" for value in values) + " |")
    on_ray = [point for point in points if point.actors]
    errors = [float(model.inline @ np.array(point.counts)) / point.router_s for point in points if not point.actors]
    errors += [float(model.router @ np.array(point.counts)) / point.router_s for point in on_ray]
    errors += [float(model.groups @ np.array(point.counts)) / point.groups_s for point in on_ray]
    off = np.abs(np.array(errors) - 1)
    middle, worst = float(np.median(off)), float(off.max())
    lines += ["", f"Of {len(points)} runs the fit misses the CPU times by {middle:.0%} (median), {worst:.0%} at most."]
    for name, way in (("sent_bytes", "sends"), ("received_bytes", "receives")):
        per = fitted(on_ray, [getattr(point, name) for point in on_ray])
        parts = ", ".join(f"{per[at]:,.0f} bytes a {term}" for at, term in enumerate(TERMS[:3]))
        lines.append(f"The router {way} {parts}.")
    return lines


def predictions(model: Model) -> list[str]:
    """Return the predictions as lines of the page."""
    workers = " | ".join(f"{count} workers" for count in WORKERS)
    rule = "|---" * (2 + len(WORKERS)) + "|"
    lines = []
    for sees, policy in ((False, "round robin"), (True, f"telemetry every {PERIOD_S * 1e3:g} ms")):
        lines += [f"60 simulated seconds at {RATE:g} requests/s and replica, {policy}:", ""]
        lines += [f"| replicas | inline | {workers} |", rule]
        lines += [f"| {count:,} | {cells_of(model, count, 60, sees=sees)} |" for count in FLEETS] + [""]
    replicas = DAY_REQUESTS / DAY_S / RATE
    lines += [f"A day of {DAY_REQUESTS / 1e9:g} billion requests on {replicas:,.0f} replicas:", ""]
    lines += [f"| router | inline | {workers} |", rule]
    for sees, policy in ((False, "round robin"), (True, "telemetry")):
        lines.append(f"| {policy} | {cells_of(model, replicas, DAY_S, sees=sees)} |")
    return lines


def written(page: str, name: str, lines: Sequence[str]) -> str:
    """Return a page with the lines between two comments of that name."""
    first, last = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, _, rest = page.partition(first)
    _, _, after = rest.partition(last)
    return before + first + "\n" + "\n".join(lines) + "\n\n" + last + after


def main() -> None:
    """Measure, fit, predict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the tables into docs/scale.md")
    arguments = parser.parse_args()
    measure("round_robin", 8, 5, 0)
    plan = [*((0, size) for size in SIZES), *((2, size) for size in SIZES[1:]), (4, SIZES[1])]
    points, with_telemetry = [], []
    for actors, (replicas, seconds) in plan:
        for policy in ("round_robin", "least_loaded"):
            print(f"{replicas} replicas, {policy}, {actors or 'no'} actors", file=sys.stderr)
            points.append(measure(policy, replicas, seconds, actors))
        with_telemetry.append(points[-1])
    inline, on_ray = ([point for point in points if bool(point.actors) == is_on_ray] for is_on_ray in (False, True))
    model = Model(
        fitted(inline, [point.router_s for point in inline]),
        fitted(on_ray, [point.router_s for point in on_ray]),
        fitted(on_ray, [point.groups_s for point in on_ray]),
        float(np.median([point.counts[1] / point.counts[3] / point.periods for point in with_telemetry])),
        float(np.median([point.counts[2] / max(point.actors, 1) / point.periods for point in with_telemetry])),
    )
    blocks = {"coefficients": coefficients(points, model), "predictions": predictions(model)}
    for name, lines in blocks.items():
        print("\n".join(lines) + "\n")
        if arguments.write is not None:
            page = arguments.write.read_text(encoding="utf-8")
            arguments.write.write_text(written(page, name, lines), encoding="utf-8")


if __name__ == "__main__":
    main()
