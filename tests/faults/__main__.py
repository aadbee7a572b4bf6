"""Kills of real processes: random runs on one Ray cluster of this machine, against the undisturbed run in one process.

``python -m tests.faults --kills 60 --seed 1`` draws run after run, kills its actors, worker nodes and driver, goes on
where the driver was killed, and compares every file.  The first difference ends it with the line that repeats it.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.faults.disturbed import Report, disturb
from tests.faults.drawn_run import draw_run
from tests.faults.ray_nodes import ray_nodes

WORKERS = 2


def main() -> int:
    """Disturb runs until there were so many kills; return 1 at the first difference."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--hours", type=float, default=1000.0, help="longest time")
    parser.add_argument("--seed", type=int, default=1, help="of the first run; the next ones follow")
    parser.add_argument("--only", type=int, help="disturb the run of one seed")
    options = parser.parse_args()
    seed = options.seed if options.only is None else options.only
    started_s = time.monotonic()
    killed: Counter[str] = Counter()
    lost_s: list[float] = []
    runs = 0
    with ray_nodes(WORKERS) as nodes:
        while killed.total() < options.kills and time.monotonic() - started_s < options.hours * 3600:
            with tempfile.TemporaryDirectory(prefix="cluster-sim-faults-") as folder:
                run = draw_run(seed, Path(folder))
                report: Report = disturb(run, nodes, Path(folder))
            if report.refusal:
                print(f"seed {seed}: has no results in any case: {report.refusal[:100]}", flush=True)
                if options.only is not None:
                    break
                seed += 1
                continue
            killed.update(report.killed)
            lost_s += report.lost_s
            runs += 1
            shown = " ".join(f"{one:.1f}" for one in report.lost_s)
            print(f"seed {seed}: killed {', '.join(report.killed) or 'nothing'}; stood still for {shown} s", flush=True)
            if report.differences:
                print(f"{run.study}: " + "; ".join(report.differences))
                print(f"differs: python -m tests.faults --only {seed}")
                return 1
            if options.only is not None:
                break
            nodes.await_idle()
            nodes.replace(WORKERS)
            seed += 1
    median_s = statistics.median(lost_s) if lost_s else 0.0
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(killed.items()))
    print(f"{runs} runs with {killed.total()} kills ({kinds}) are equal; median time lost per kill {median_s:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
