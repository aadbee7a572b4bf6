"""One small study, run inline from its file as the command does, with whatever a test changes."""

from pathlib import Path

from cluster_sim.config.loading.load import load_study
from cluster_sim.config.schema.study import Study
from cluster_sim.simulation.run import RunResult, run_study
from cluster_sim.simulation.run_options import RunOptions

STUDY = """\
name: small
workload:
  kind: synthetic
  count: 150
  arrivals: {kind: poisson, request_rate: 20}
  lengths: {prompt: {kind: uniform, min: 50, max: 900}, output: {kind: uniform, min: 1, max: 90}}
fleet:
  pools: [{name: main, model: llama-3-8b, device: h100-sxm, replicas: 2, engine: {num_kv_blocks: 800}}]
router: {policy: least_outstanding}
predictor: {kind: roofline}
"""


def small_study(folder: Path, *overrides: str) -> Study:
    """Return the study with ``overrides`` as ``--set`` takes them; its file lies in ``folder``."""
    study = folder / "study.yaml"
    study.write_text(STUDY, encoding="utf-8")
    return load_study(study, overrides)


def run_small(folder: Path, *overrides: str) -> RunResult:
    """Run the study with ``overrides`` as ``--set`` takes them; its file and its directory lie in ``folder``."""
    study = small_study(folder, *overrides)
    out = folder / f"run{len(list(folder.iterdir()))}"
    return run_study(study, RunOptions(executor="inline", out=out))
