"""A sweep as a Ray job: submitted to the dashboard of a cluster, it leaves the table of a sweep in one process."""

import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cluster_sim.document import Document
from cluster_sim.study.sweep import SweepOptions, run_sweep
from cluster_sim.study.sweep_directory import RESULTS_FILE
from tests.study.test_sweep_on_ray import STUDY

START_S = 120
JOB_S = 300
RAY = [sys.executable, "-m", "ray.scripts.scripts"]


def in_this_process(function: Callable[[Any], Any], tasks: list[Any]) -> Iterator[tuple[int, Any]]:
    yield from ((position, function(task)) for position, task in enumerate(tasks))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_up(address: str) -> bool:
    """Return whether the dashboard answers, if only that it wants a token."""
    try:
        urllib.request.urlopen(f"{address}/api/version", timeout=5)
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


@pytest.mark.ray
@pytest.mark.acceptance
def test_a_sweep_as_a_ray_job(tmp_path: Path) -> None:
    """``ray job submit`` of a sweep on a cluster with a token ends well, with the rows of a sweep in one process."""
    for name in ("aiohttp", "aiohttp_cors", "opencensus"):
        pytest.importorskip(name, reason="needs ray[default]")
    path = tmp_path / "work" / "study.yaml"
    path.parent.mkdir()
    path.write_text(STUDY, encoding="utf-8")
    run_sweep(path, Document.read(path), SweepOptions(out=tmp_path / "whole"), in_this_process)

    environment = os.environ | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",
    }
    port, dashboard = free_port(), free_port()
    address = f"http://127.0.0.1:{dashboard}"
    start = ["start", "--head", f"--port={port}", "--num-cpus=2", "--include-dashboard=true", "--block"]
    start += [f"--dashboard-port={dashboard}", f"--ray-client-server-port={free_port()}"]
    head = subprocess.Popen([*RAY, *start], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_S
        while not is_up(address):
            assert head.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.5)
        command = [sys.executable, "-m", "cluster_sim", "sweep", "study.yaml", "--address", "auto"]
        command += ["--out", str(tmp_path / "out"), "--resume"]
        submit = ["job", "submit", "--address", address, "--working-dir", str(path.parent), "--", *command]
        done = subprocess.run(
            [*RAY, *submit], env=environment, capture_output=True, text=True, timeout=JOB_S, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        head.terminate()
        head.wait(60)
    whole, out = (pq.read_table(tmp_path / name / RESULTS_FILE) for name in ("whole", "out"))
    assert out.equals(whole)
