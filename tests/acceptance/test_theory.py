"""Queueing theory: a replica that serves one request at a time is a textbook queue."""

from pathlib import Path
from typing import Any

import pytest

from cluster_sim.config.schema.study import Study
from cluster_sim.options import BASE_DIRECTORY
from cluster_sim.simulation.run import run_study
from cluster_sim.simulation.run_options import RunOptions

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(3600)]

REQUESTS = 1_000_000
REPLICAS = 4
UTILISATION = 0.7
STEP_US = 1000.0


def summary_of(out: Path, output: dict[str, Any], mean_service_s: float) -> dict[str, Any]:
    """Run single servers behind a random router, which splits one Poisson stream into independent ones."""
    rate = REPLICAS * UTILISATION / mean_service_s
    document = {
        "seed": 1,
        "workload": {
            "kind": "synthetic",
            "count": REQUESTS,
            "arrivals": {"kind": "poisson", "request_rate": rate},
            "lengths": {"prompt": {"kind": "fixed", "value": 1}, "output": output},
        },
        "fleet": {
            "pools": [
                {
                    "model": "llama-3-8b",
                    "device": "h100-sxm",
                    "replicas": REPLICAS,
                    "engine": {"max_num_seqs": 1, "async_scheduling": False},
                }
            ],
            "network": {"router_to_replica_ms": 0, "replica_to_router_ms": 0},
        },
        "router": {"policy": "random"},
        "predictor": {"kind": "linear", "alpha_us": STEP_US},
        "run": {"executor": "inline", "series_interval_s": 0},
    }
    study = Study.model_validate(document, context={BASE_DIRECTORY: Path.cwd()})
    return run_study(study, RunOptions(out=out)).summary


def test_constant_service(tmp_path: Path) -> None:
    """M/D/1: the mean wait is rho S / (2 (1 - rho)), with one step of 1 ms a request."""
    service_s = STEP_US / 1e6
    summary = summary_of(tmp_path / "run", {"kind": "fixed", "value": 1}, service_s)
    assert summary["whole_run"]["requests"]["finished"] == REQUESTS
    theory_s = UTILISATION * service_s / (2 * (1 - UTILISATION))
    assert summary["queue_s"]["mean"] == pytest.approx(theory_s, rel=0.02)
    assert summary["e2e_s"]["mean"] == pytest.approx(theory_s + service_s, rel=0.02)


def test_exponential_service(tmp_path: Path) -> None:
    """M/M/1: the mean wait is rho S / (1 - rho).

    A request of n output tokens takes n steps.  With a mean of 400 the rounding to whole tokens changes the mean
    service by less than 0.1 %, and 1 request in 10^8 is longer than the model's context.
    """
    mean_tokens = 400
    service_s = mean_tokens * STEP_US / 1e6
    summary = summary_of(tmp_path / "run", {"kind": "exponential", "mean": mean_tokens}, service_s)
    assert summary["whole_run"]["requests"]["finished"] == REQUESTS
    theory_s = UTILISATION * service_s / (1 - UTILISATION)
    assert summary["queue_s"]["mean"] == pytest.approx(theory_s, rel=0.02)
    assert summary["e2e_s"]["mean"] == pytest.approx(theory_s + service_s, rel=0.02)
