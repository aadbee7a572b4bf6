"""A sweep on a Ray cluster of three nodes: killed half-way, resumed, equal to an undisturbed one."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from ray.cluster_utils import Cluster

from actors.environment import prepare_ray
from cluster_sim.document import Document
from cluster_sim.study.sweep import SweepOptions, run_sweep
from cluster_sim.study.sweep_directory import RESULTS_FILE

WAIT_S = 60

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
sweep:
  grid:
    seed: [1, 2, 3, 4]
    fleet.pools.0.replicas: [1, 2, 3]
"""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Three Ray nodes on this machine, one CPU each."""
    prepare_ray("the nodes below")  # Or Ray starts their workers at a niceness that starves them beside other programs.
    nodes = Cluster()
    for _ in range(3):
        nodes.add_node(num_cpus=1, include_dashboard=False)
    yield nodes
    nodes.shutdown()


def in_this_process(function: Callable[[Any], Any], tasks: list[Any]) -> Iterator[tuple[int, Any]]:
    yield from ((position, function(task)) for position, task in enumerate(tasks))


@pytest.mark.ray
def test_killed_sweep_resumes_to_the_same_rows(cluster: Cluster, tmp_path: Path) -> None:
    """Twelve runs on three nodes, killed with SIGKILL after some: --resume completes them to the undisturbed table."""
    path = tmp_path / "study.yaml"
    path.write_text(STUDY, encoding="utf-8")
    run_sweep(path, Document.read(path), SweepOptions(out=tmp_path / "whole"), in_this_process)

    command = [sys.executable, "-m", "cluster_sim", "sweep", str(path), "--address", cluster.address]
    command += ["--out", str(tmp_path / "out")]
    environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0"}
    victim = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    runs = tmp_path / "out.partial" / "runs"
    deadline = time.monotonic() + WAIT_S
    while victim.poll() is None and len(list(runs.glob("*.json"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    victim.send_signal(signal.SIGKILL)
    assert victim.wait(WAIT_S) == -signal.SIGKILL
    finished = len(list(runs.glob("*.json")))
    assert 3 <= finished < 12
    assert not (tmp_path / "out").exists()

    resumed = subprocess.run(
        [*command, "--resume"], env=environment, capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert resumed.returncode == 0, resumed.stderr
    counted = re.findall(r"^ *(\d+)/12\b.*:", resumed.stdout, re.MULTILINE)
    assert counted == [str(number) for number in range(finished + 1, 13)]
    whole, out = (pq.read_table(tmp_path / name / RESULTS_FILE) for name in ("whole", "out"))
    assert out.equals(whole)
    assert set(out.column("status").to_pylist()) == {"finished"}
