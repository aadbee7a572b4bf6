"""Cost of snapshots: one set of a large fleet with much in flight, and their share of a run at the default interval.

``python scripts/snapshot_cost.py`` prints, for 1,024 replicas with about so many requests at each, the CPU seconds that
a set takes with encoding, compression and writing, and the size of its file; with ``--share S`` it also runs that fleet
for about S seconds and prints how much of the time its snapshots took.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from cluster_sim.config.loading.load import load_study
from cluster_sim.config.schema.study import Study
from cluster_sim.output.snapshot_file import StoredSnapshot, new_head, write_snapshot
from cluster_sim.simulation.executor import NoCheckpoints, RunOutputs, TakeSnapshot
from cluster_sim.simulation.inline import InlineExecutor
from cluster_sim.simulation.plan import make_plan
from cluster_sim.simulation.run import run_study
from cluster_sim.simulation.run_options import RunOptions

STUDY = """\
name: snapshots
workload:
  kind: synthetic
  count: {count}
  arrivals: {{kind: poisson, request_rate: {rate}}}
  lengths: {{prompt: {{kind: uniform, min: 100, max: 1500}}, output: {{kind: uniform, min: 20, max: 400}}}}
fleet: {{pools: [{{name: main, model: llama-3-8b, device: h100-sxm, replicas: {replicas}}}]}}
router: {{policy: least_outstanding}}
predictor: {{kind: roofline}}
"""
REPEATS = 5


class _EndError(Exception):
    """The sets are taken."""


class Sets(NoCheckpoints):
    """Takes a set several times at one simulated time, and ends the run."""

    is_active = True

    def __init__(self, folder: Path, at_s: float) -> None:
        self._folder = folder
        self._at_s = at_s
        self.reached_s = 0.0
        self.cpu_s: list[float] = []
        self.size = 0

    def is_due(self) -> bool:
        """Return whether the time has come."""
        return self.reached_s >= self._at_s

    def keep(self, take: TakeSnapshot) -> None:
        """Take and write the sets."""
        for _ in range(REPEATS):
            started_s = time.process_time()
            taken = take()
            stored = StoredSnapshot(new_head("", ""), taken.router, taken.groups, taken.members)
            self.size = write_snapshot(self._folder, stored)
            self.cpu_s.append(time.process_time() - started_s)
        raise _EndError


def study_of(folder: Path, replicas: int, rate: float, duration_s: float) -> Study:
    """Return a fleet under a load of ``rate`` requests per second and replica."""
    path = folder / "study.yaml"
    count = round(replicas * rate * duration_s)
    path.write_text(STUDY.format(count=count, rate=replicas * rate, replicas=replicas), encoding="utf-8")
    return load_study(path, [])


def main() -> None:
    """Print the costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", type=int, default=1024)
    parser.add_argument("--rate", type=float, default=1.5, help="requests per second at each replica")
    parser.add_argument("--at", type=float, default=6.0, help="simulated time of the set, in seconds")
    parser.add_argument("--share", type=float, default=0.0, help="simulated seconds of a whole run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sets = Sets(folder, options.at)
        simulation = make_plan(study_of(folder, options.replicas, options.rate, 2 * options.at)).simulation()

        def progress(simulated_ns: int, _done: int) -> None:
            sets.reached_s = simulated_ns / 1e9

        try:
            InlineExecutor().run(simulation, RunOutputs(checkpoints=sets, progress=progress))
        except _EndError:
            middle_s, least_s, size_mb = sorted(sets.cpu_s)[REPEATS // 2], min(sets.cpu_s), sets.size / 1e6
            print(f"{options.replicas} replicas: {middle_s:.2f} CPU s a set (least {least_s:.2f}), {size_mb:.1f} MB")
        if options.share:
            study = study_of(folder, options.replicas, options.rate, options.share)
            result = run_study(study, RunOptions(executor="inline", out=folder / "run"))
            manifest = json.loads((result.directory / "manifest.json").read_text(encoding="utf-8"))
            costs = manifest["snapshots"]
            share = costs["wall_s"] / manifest["wall_s"]
            print(f"{costs['taken']} snapshots in {manifest['wall_s']:.0f} s of wall time took {share:.2%} of it")


if __name__ == "__main__":
    main()
