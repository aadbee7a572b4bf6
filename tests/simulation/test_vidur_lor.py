"""Vidur's ``lor`` as a study: the router's least_waiting decides as Vidur's global scheduler does."""

import csv
import gzip
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cluster_sim.config.schema.study import Study
from cluster_sim.simulation.run import run_study
from cluster_sim.simulation.run_options import RunOptions

NAME = "l8_tp1_rep4_lor_sarathi512_trace2000_ts0.25"


def study(reference: Path, link_ms: float, telemetry: dict[str, float]) -> Study:
    """Return Vidur's run of 2,000 requests on four replicas, with its scheduler's limits."""
    pool = {
        "model": "llama-3-8b",
        "device": "a100-80gb",
        "replicas": 4,
        "engine": {"kind": "sarathi", "num_kv_blocks": 30_208, "max_model_len": 4096, "vidur_compat": True},
    }
    document = {
        "name": "vidur-lor",
        "workload": {"kind": "trace", "format": "vidur", "path": str(reference / NAME / "requests.csv.gz")},
        "fleet": {"pools": [pool], "network": {"router_to_replica_ms": link_ms, "replica_to_router_ms": 0}},
        "router": {"policy": "least_waiting", "telemetry": telemetry, "ties": "first"},
        "predictor": {
            "kind": "vidur_tables",
            "directory": str(reference / "predictor"),
            "prefix": "l8_a100_tp1_standin",
        },
    }
    return Study.model_validate(document)


def rows(run: Study, out: Path) -> list[dict[str, Any]]:
    directory = run_study(run, RunOptions(executor="inline", out=out)).directory
    table: list[dict[str, Any]] = pq.read_table(directory / "requests.parquet").sort_by("request_id").to_pylist()
    return table


def reference_rows(reference: Path) -> list[dict[str, str]]:
    with gzip.open(reference / NAME / "requests.csv.gz", "rt") as file:
        return sorted(csv.DictReader(file), key=lambda row: int(row["request_id"]))


@pytest.mark.parametrize("link_ms", [0.0, 1e-6])
def test_instant_knowledge_without_links_decides_as_vidur(shared: Path, tmp_path: Path, link_ms: float) -> None:
    """With samples at every decision and links of 0, or of a nanosecond, all 2,000 requests go where Vidur sent them
    and end as there.
    """
    reference = shared / "vidur-ref"
    served = rows(study(reference, link_ms, {"period_ms": 0, "latency_ms": 0}), tmp_path / "run")
    for ours, theirs in zip(served, reference_rows(reference), strict=True):
        assert ours["replica"] == int(theirs["replica_id"])
        assert ours["first_token_s"] == pytest.approx(float(theirs["prefill_completed_at"]), rel=1e-6, abs=1e-9)
        assert ours["finish_s"] == pytest.approx(float(theirs["completed_at"]), rel=1e-6, abs=1e-9)
