"""A sweep of 200 runs whose driver, workers and Ray nodes are killed ten times: its table is the undisturbed one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from cluster_sim.document import Document
from cluster_sim.study.sweep import SweepOptions, run_sweep
from cluster_sim.study.sweep_directory import RESULTS_FILE, TABLE_FILE

RUNS = 200
KILLS = 10
SEED = 14
LIMIT_S = 1800.0
STUDY = """\
name: small
workload:
  kind: synthetic
  count: 400
  arrivals: {kind: poisson, request_rate: 8}
  lengths:
    prompt: {kind: uniform, min: 10, max: 900}
    output: {kind: uniform, min: 1, max: 300}
fleet: {pools: [{model: llama-3-8b, device: h100-sxm, replicas: 2}]}
run: {series_interval_s: 0}
sweep:
  grid:
    seed: [%s]
    fleet.pools.0.replicas: [1, 2, 3, 4]
    router.policy: [random, least_outstanding]
""" % ", ".join(map(str, range(RUNS // 8)))  # noqa: UP031 - braces are YAML's


class Fire:
    """A cluster of a head and two workers, with a driver, of which something is killed now and then."""

    def __init__(self, command: list[str], random: Random) -> None:
        self.cluster = Cluster()
        self.cluster.add_node(num_cpus=0, include_dashboard=False)
        self.nodes = [self.cluster.add_node(num_cpus=1, include_dashboard=False) for _ in range(2)]
        self.counts = dict.fromkeys(("driver", "worker", "node"), 0)
        self.command = [*command, "--address", self.cluster.address]
        self._random = random
        self._driver: subprocess.Popen[bytes] | None = None

    def start(self) -> "subprocess.Popen[bytes]":
        """Start a driver that goes on with the sweep."""
        environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0"}
        self._driver = subprocess.Popen(
            self.command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        return self._driver

    def kill(self, kind: str) -> None:
        """Kill the driver, a process that runs tasks, or a node, which another takes the place of."""
        assert self._driver is not None
        if kind == "driver":
            self._driver.kill()
        elif kind == "worker":
            raylets = [node.all_processes["raylet"][0].process.pid for node in self.nodes]
            workers: list[int] = []
            while not workers:
                workers = [pid for pid in _descendants(raylets) if "ray::_" in _command_line(pid)]
            os.kill(self._random.choice(workers), signal.SIGKILL)
        else:
            node = self.nodes.pop(self._random.randrange(len(self.nodes)))
            self.cluster.remove_node(node, allow_graceful=False)
            self.nodes.append(self.cluster.add_node(num_cpus=1, include_dashboard=False))
        self.counts[kind] += 1


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY, encoding="utf-8")
    return path


def _parents() -> Iterator[tuple[int, int]]:
    """Yield (process, its parent)."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            yield int(entry.name), int(fields[1])


def _descendants(roots: list[int]) -> list[int]:
    parents = dict(_parents())

    def is_below(pid: int) -> bool:
        while pid in parents and pid not in roots:
            pid = parents[pid]
        return pid in roots

    return sorted(pid for pid in parents if pid not in roots and is_below(pid))


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def in_this_process(function: Callable[[Any], Any], tasks: list[Any]) -> Iterator[tuple[int, Any]]:
    yield from ((position, function(task)) for position, task in enumerate(tasks))


@pytest.mark.ray
@pytest.mark.acceptance
def test_the_table_of_a_sweep_under_fire(study: Path, tmp_path: Path) -> None:
    """Ten kills at random times, three kinds of victims: both tables have the bytes of the undisturbed sweep."""
    run_sweep(study, Document.read(study), SweepOptions(out=tmp_path / "whole"), in_this_process)
    random = Random(SEED)
    out, runs = tmp_path / "out", tmp_path / "out.partial" / "runs"
    fire = Fire([sys.executable, "-m", "cluster_sim", "sweep", str(study), "--out", str(out)], random)
    try:
        driver, deadline = fire.start(), time.monotonic() + LIMIT_S
        marks = sorted(random.sample(range(5, RUNS - 10), KILLS))
        victims = [("driver", "worker", "node")[number % 3] for number in range(KILLS)]
        random.shuffle(victims)
        fire.command.append("--resume")
        while not out.exists():
            assert time.monotonic() < deadline, f"{len(list(runs.glob('*.json')))} runs have ended"
            if marks and len(list(runs.glob("*.json"))) >= marks[0]:
                time.sleep(random.random())
                marks.pop(0)
                fire.kill(victims[len(marks)])
            code = driver.poll()
            if code is not None and not out.exists():
                assert code in (-signal.SIGKILL, 3), driver.stderr.read() if driver.stderr else ""
                driver = fire.start()
            time.sleep(0.05)
        assert driver.wait(60) == 0
    finally:
        driver.kill()
        fire.cluster.shutdown()
    assert sum(fire.counts.values()) == KILLS, fire.counts
    for name in (RESULTS_FILE, TABLE_FILE):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
