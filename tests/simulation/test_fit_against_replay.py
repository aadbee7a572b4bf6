"""A fitted generator against the trace it was fitted to, through the whole product."""

from pathlib import Path
from typing import Any

import pytest

from cluster_sim.config.schema.study import Study
from cluster_sim.options import BASE_DIRECTORY
from cluster_sim.simulation.run import run_study
from cluster_sim.simulation.run_options import RunOptions
from cluster_sim.workload.analysis.fitting import collect, fit_workload
from cluster_sim.workload.build import build_columns


def run(base: Path, workload: dict[str, Any], seed: int) -> dict[str, Any]:
    pool = {"name": "main", "model": "llama-3-8b", "device": "h100-sxm", "replicas": 2}
    document = {
        "seed": seed,
        "workload": workload,
        "fleet": {"pools": [pool]},
        "router": {"policy": "least_outstanding"},
        "run": {"executor": "inline", "series_interval_s": 0},
    }
    study = Study.model_validate(document, context={BASE_DIRECTORY: base})
    return run_study(study, RunOptions(executor="inline", out=base / f"run-{seed}")).summary


@pytest.mark.acceptance
@pytest.mark.timeout(600)
def test_percentiles_under_the_fit_are_those_of_the_replay(shared: Path, tmp_path: Path) -> None:
    """Azure's conversation trace at moderate load: TTFT and end-to-end percentiles within 10 % for two seeds."""
    trace = {"kind": "trace", "path": str(shared / "traces/azure_llm_2023_conv.csv.gz")}
    replay = run(tmp_path, trace, 1)
    study = Study.model_validate(
        {"workload": trace, "fleet": {"pools": [{"model": "llama-3-8b", "device": "h100-sxm"}]}},
        context={BASE_DIRECTORY: tmp_path},
    )
    section = fit_workload(collect(build_columns(study.workload, 1).columns(), "trace"), 300.0, "empirical")
    for seed in (2, 3):
        fitted = run(tmp_path, section, seed)
        for figure in ("ttft_s", "e2e_s"):
            for point in ("mean", "p50", "p90", "p95", "p99"):
                assert fitted[figure][point] == pytest.approx(replay[figure][point], rel=0.1), (figure, point)
