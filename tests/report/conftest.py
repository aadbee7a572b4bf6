"""A small real run in its directory."""

from pathlib import Path

import pytest

from cluster_sim.config.load import load_study
from cluster_sim.study.options import RunOptions
from cluster_sim.study.run import run_study

STUDY = """
name: small
workload:
  kind: synthetic
  count: 200
  arrivals: {kind: poisson, request_rate: 20}
  lengths: {prompt: {kind: uniform, min: 100, max: 900}, output: {kind: uniform, min: 1, max: 60}}
fleet:
  pools: [{name: main, model: llama-3-8b, device: h100-sxm, replicas: 2}]
router: {policy: round_robin}
slo: {ttft_p99_s: 0.05, tpot_p99_s: 0.1}
"""


@pytest.fixture(scope="session")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a complete run of 200 requests on two replicas."""
    folder = tmp_path_factory.mktemp("report")
    study = folder / "study.yaml"
    study.write_text(STUDY, encoding="utf-8")
    options = RunOptions(executor="inline", out=folder / "run")
    return run_study(load_study(study), options).directory
