"""Long runs: memory does not grow with the number of requests."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(3600)]

MIB = 1 << 20
RUN = """
import json, resource, sys
from pathlib import Path
from cluster_sim.config.loading.load import load_study
from cluster_sim.simulation.run_options import RunOptions
from cluster_sim.simulation.run import run_study
result = run_study(load_study(Path(sys.argv[1])), RunOptions(out=Path(sys.argv[2])))
peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"peak_bytes": peak_kib * 1024, "requests": result.summary["whole_run"]["requests"]}))
"""


def peak_of(folder: Path, requests: int) -> dict[str, Any]:
    """Run that many requests on 8 replicas in a process of its own; return its peak memory and the counts."""
    study = folder / f"{requests}.yaml"
    study.write_text(
        f"""
workload:
  kind: synthetic
  count: {requests}
  arrivals: {{kind: poisson, request_rate: 200}}
  lengths:
    prompt: {{kind: lognormal, mean: 200, std: 200, min: 1, max: 4000}}
    output: {{kind: lognormal, mean: 20, std: 20, min: 1, max: 400}}
fleet: {{pools: [{{model: llama-3-8b, device: h100-sxm, replicas: 8}}]}}
router: {{policy: least_outstanding}}
run: {{executor: inline}}
"""
    )
    command = [sys.executable, "-c", RUN, str(study), str(folder / f"run-{requests}")]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=Path(__file__).parents[2])
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def test_peak_memory_of_five_million_requests(tmp_path: Path) -> None:
    """5,000,000 requests stay under 1 GB, and take less than 32 MiB more memory than a tenth of them."""
    short, long = peak_of(tmp_path, 500_000), peak_of(tmp_path, 5_000_000)
    assert long["requests"]["finished"] == 5_000_000
    assert long["peak_bytes"] < 1_000_000_000
    assert long["peak_bytes"] < short["peak_bytes"] + 32 * MIB
