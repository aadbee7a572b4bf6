"""Overhead of a sweep: its wall time over that of plain processes that make the same runs, one after the other.

``python scripts/sweep_overhead.py`` makes 200 runs of about a second twice on 2 cores: as a sweep on a local Ray
cluster of 2 CPUs, from the start of the process to its end, and in 2 processes with half of the runs each.  It prints
both times, their ratio, which is to be at most 1.15, and whether the rows are equal.  ``--runs N`` makes fewer.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cluster_sim.document import Document
from cluster_sim.study.sweep import SweepOptions, run_sweep, run_variant
from cluster_sim.study.variants import expand

MOST_RATIO = 1.15
STUDY = """\
name: overhead
workload:
  kind: synthetic
  count: {count}
  arrivals: {{kind: poisson, request_rate: 20}}
  lengths: {{prompt: {{kind: uniform, min: 50, max: 900}}, output: {{kind: uniform, min: 1, max: 300}}}}
fleet: {{pools: [{{name: main, model: llama-3-8b, device: h100-sxm, replicas: 4}}]}}
router: {{policy: least_outstanding}}
predictor: {{kind: roofline}}
sweep: {{grid: {{seed: {seeds}}}}}
"""
_FIRST = 4000
"""Requests of the run by which the others are sized."""


def study_file(folder: Path, count: int, runs: int) -> Path:
    """Write the study of a sweep of so many runs; return its file."""
    path = folder / "study.yaml"
    path.write_text(STUDY.format(count=count, seeds=list(range(1, runs + 1))), encoding="utf-8")
    return path


def requests_for(seconds: float, folder: Path) -> int:
    """Return how many requests a run of about so many seconds has on this machine."""
    study = expand(path := study_file(folder, _FIRST, 1), Document.read(path))[0].study
    assert study is not None
    run_variant(study)  # Imports, and whatever else only the first run pays.
    started_s = time.perf_counter()
    run_variant(study)
    return max(100, round(_FIRST * seconds / (time.perf_counter() - started_s)))


def sweep(path: Path, cpus: int, out: Path) -> None:
    """Make the runs of a study as a sweep on a local cluster, and write their digests."""
    from actors.connection import ray_cluster

    with ray_cluster(None, cpus):
        result = run_sweep(path, Document.read(path), SweepOptions(out=out.with_suffix("")))
    write(out, {row["run"]: row["digest"] for row in result.rows})


def plain(path: Path, part: int, parts: int, out: Path) -> None:
    """Make every ``parts``-th run of a study in this process, and write their digests."""
    variants = expand(path, Document.read(path))[part::parts]
    write(out, {one.run_id: run_variant(one.study)["digest"] for one in variants if one.study is not None})


def write(out: Path, digests: dict[str, str]) -> None:
    """Write the digest of each run."""
    out.write_text(json.dumps(digests), encoding="utf-8")


def timed(commands: list[list[Any]]) -> float:
    """Run this script several times at once; return the wall time until all have ended."""
    started_s = time.perf_counter()
    processes = [
        subprocess.Popen([sys.executable, __file__, *map(str, command)], stdout=subprocess.DEVNULL)
        for command in commands
    ]
    for process in processes:
        if process.wait():
            raise SystemExit(f"a process ended with code {process.returncode}")
    return time.perf_counter() - started_s


def digests_of(files: list[Path]) -> dict[str, str]:
    """Return the digests that processes have written."""
    found: dict[str, str] = {}
    for file in files:
        found |= json.loads(file.read_text(encoding="utf-8"))
    return found


def main() -> None:
    """Measure and print both times, or make the runs of one process of a measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=1.0, help="Length of a run.")
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--requests", type=int, help="Requests of a run, in place of a measured number.")
    parser.add_argument("--part", nargs=4, metavar=("KIND", "STUDY", "PART", "OUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        kind, study, part, out = options.part
        if kind == "sweep":
            sweep(Path(study), options.cpus, Path(out))
        else:
            plain(Path(study), int(part), options.cpus, Path(out))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        requests = options.requests or requests_for(options.seconds, folder)
        path = study_file(folder, requests, options.runs)
        outs = [folder / f"plain-{part}.json" for part in range(options.cpus)]
        common = ["--cpus", options.cpus, "--part"]
        load = os.getloadavg()[0]
        plain_s = timed([[*common, "plain", path, part, out] for part, out in enumerate(outs)])
        sweep_s = timed([[*common, "sweep", path, 0, folder / "sweep.json"]])
        are_equal = digests_of(outs) == digests_of([folder / "sweep.json"])
    ratio = sweep_s / plain_s
    print(f"{options.runs} runs of {requests:,} requests on {options.cpus} CPUs; load before: {load:.1f}")
    print(f"sweep {sweep_s:.1f} s, plain processes {plain_s:.1f} s: ratio {ratio:.3f}, to be at most {MOST_RATIO}")
    print("rows are equal" if are_equal else "rows DIFFER")
    if not are_equal:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
