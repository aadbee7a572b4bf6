"""Runs on a real cluster whose processes are killed leave what undisturbed runs leave."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster_sim.config.loading.load import load_study
from cluster_sim.simulation.run import run_study
from cluster_sim.simulation.run_options import RunOptions
from tests.faults.disturbed import disturb, files_of
from tests.faults.drawn_run import DrawnRun, Kill, draw_run
from tests.faults.ray_nodes import RayNodes, kill, ray_nodes
from tests.small_run import STUDY

pytestmark = pytest.mark.ray
STAGED = STUDY.replace("replicas: 2,", "replicas: 3, pipeline_parallel: 2,") + "run: {snapshot_interval_s: 1}\n"
"""Three replicas of two stages."""


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayNodes]:
    """A head and a worker node."""
    with ray_nodes(1) as started:
        yield started


def study_in(folder: Path) -> Path:
    """Write the study to a folder."""
    path = folder / "study.yaml"
    path.write_text(STAGED, encoding="utf-8")
    return path


def test_a_run_is_drawn_again_by_its_seed(tmp_path: Path) -> None:
    """One seed gives one study and one schedule."""
    first = draw_run(3, tmp_path)
    text = first.study.read_text()
    assert draw_run(3, tmp_path) == first
    assert first.study.read_text() == text
    assert len({draw_run(seed, tmp_path).kills for seed in range(6)}) == 6


@pytest.mark.acceptance
def test_kills_change_nothing(nodes: RayNodes, tmp_path: Path) -> None:
    """A stage, a node and the driver are killed in one run, which ends in one process: files and live counters."""
    kills = (Kill("stage", 1.5), Kill("node", 0.5), Kill("driver", 0.5))
    run = DrawnRun(0, study_in(tmp_path), (2, 0), "actors", kills)
    report = disturb(run, nodes, tmp_path)
    assert report.differences == []
    assert report.killed == ["stage", "node", "driver"]
    nodes.replace(1)


@pytest.mark.acceptance
def test_the_head_node_takes_the_run_with_it(tmp_path: Path) -> None:
    """Its death ends the run with exit code 3 and one message, from which it goes on."""
    study, out = study_in(tmp_path), tmp_path / "run"
    whole = run_study(load_study(study, []), RunOptions(executor="inline", out=tmp_path / "whole"))
    command = [sys.executable, "-m", "cluster_sim", "run", str(study), "--out", str(out)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with ray_nodes(1) as nodes:
        place = ["--executor", "ray", "--address", nodes.address, "--speedup", "0.5"]
        driver = subprocess.Popen(
            [*command, *place], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        deadline_s = time.monotonic() + 120
        while not (tmp_path / "run.partial" / "snapshot").exists() and time.monotonic() < deadline_s:
            time.sleep(0.1)
        for infos in nodes.cluster.head_node.all_processes.values():
            for info in infos:
                kill(info.process.pid)
        said, _ = driver.communicate(timeout=120)
    assert driver.returncode == 3, said
    (line,) = [line for line in said.splitlines() if line.startswith("unfinished: ")]
    assert "the cluster's head node" in line
    assert f"`cluster-sim run {out} --resume` goes on from its last snapshot" in line
    assert "Traceback" not in said
    assert "rpc_client" not in said
    subprocess.run([*command, "--executor", "inline", "--resume"], env=environment, check=True, capture_output=True)
    assert files_of(out) == files_of(whole.directory)


@pytest.mark.acceptance
def test_a_run_goes_on_without_the_control_service(nodes: RayNodes, tmp_path: Path) -> None:
    """When the control service alone dies, a run on it ends as it would have, having said so once."""
    study, out = study_in(tmp_path), tmp_path / "run"
    whole = run_study(load_study(study, []), RunOptions(executor="inline", out=tmp_path / "whole"))
    command = [sys.executable, "-m", "cluster_sim", "run", str(study), "--out", str(out), "--speedup", "1"]
    driver = subprocess.Popen(
        [*command, "--executor", "ray", "--address", nodes.address],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline_s = time.monotonic() + 120
    while not (tmp_path / "run.partial" / "snapshot").exists() and time.monotonic() < deadline_s:
        time.sleep(0.1)
    for info in nodes.cluster.head_node.all_processes["gcs_server"]:
        os.kill(info.process.pid, signal.SIGKILL)
    said, _ = driver.communicate(timeout=120)
    assert driver.returncode == 0, said
    assert said.count("control service (GCS)") == 1
    assert files_of(out) == files_of(whole.directory)


@pytest.mark.acceptance
@pytest.mark.timeout(3600)
def test_drawn_runs_with_drawn_kills_change_nothing(tmp_path: Path) -> None:
    """Twenty kills of drawn processes in drawn runs; `python -m tests.faults` makes more."""
    kills, seed = 0, 900
    with ray_nodes(2) as nodes:
        while kills < 20:
            folder = tmp_path / str(seed)
            folder.mkdir()
            report = disturb(draw_run(seed, folder), nodes, folder)
            assert report.differences == [], f"python -m tests.faults --only {seed}"
            kills += len(report.killed)
            seed += 1
            nodes.await_idle()
            nodes.replace(2)
