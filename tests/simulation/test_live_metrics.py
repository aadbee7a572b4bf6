"""Acceptance of live metrics on real paced runs."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.metrics.prometheus_server import dashboard_expressions, running_prometheus

STUDY = """
name: paced
workload:
  kind: synthetic
  count: 100000
  arrivals: {kind: poisson, request_rate: 20}
  lengths: {prompt: {kind: uniform, min: 100, max: 900}, output: {kind: uniform, min: 20, max: 60}}
fleet:
  pools: [{name: main, model: llama-3-8b, device: h100-sxm, replicas: 2}]
router: {policy: least_outstanding}
"""


@pytest.mark.parametrize("executor", ["inline", pytest.param("ray", marks=pytest.mark.ray)])
def test_dashboards_are_full_during_a_run(checkout: Path, shared: Path, tmp_path: Path, executor: str) -> None:
    """While a paced run goes on, every expression of vLLM's dashboard and of ours has finite data in Prometheus."""
    study = tmp_path / "study.yaml"
    study.write_text(STUDY, encoding="utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    dashboards = (
        shared / "dashboards" / "vllm__grafana.json",
        checkout / "conf" / "grafana" / "dashboards" / "cluster-sim.json",
    )
    expressions = [expression for path in dashboards for expression in dashboard_expressions(path, "llama-3-8b")]
    rules = checkout / "conf" / "prometheus" / "rules.yml"
    command = [
        *(sys.executable, "-m", "cluster_sim", "run", str(study), "--executor", executor, "--speedup", "5"),
        *("--metrics-port", str(port), "--out", str(tmp_path / "run")),
    ]
    with (tmp_path / "run.log").open("wb") as log, running_prometheus(tmp_path, port, rules) as prometheus:
        run = subprocess.Popen(command, cwd=checkout, stdout=log, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + 80
            lacking = expressions
            while lacking and time.monotonic() < deadline:
                assert run.poll() is None, (tmp_path / "run.log").read_text()
                time.sleep(1.0)
                lacking = prometheus.lacking(expressions)
            assert lacking == []
            assert prometheus.query("cluster_sim_speedup_ratio")[0] == pytest.approx(5.0, rel=0.5)
        finally:
            run.terminate()
            run.wait(timeout=30)
