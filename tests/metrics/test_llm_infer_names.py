"""Tests of the flat dictionary against llm-infer's own outputs."""

import csv
import gzip
import json
from pathlib import Path

import pytest

from cluster_sim.config.schema.study import Study
from cluster_sim.metrics.llm_infer_names import flat_metrics
from cluster_sim.metrics.request_totals import RequestTotals
from cluster_sim.metrics.run_records import RunRecords
from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.recording.request_log import RequestLog
from cluster_sim.recording.rows import RequestRow
from cluster_sim.simulation.run import run_study
from cluster_sim.simulation.run_options import RunOptions
from cluster_sim.workload.request import Request

LLM_INFER_KEYS = {
    "avg_latency", "median_latency", "std_latency", "min_latency", "max_latency", "p50_latency", "p95_latency",
    "p99_latency", "avg_queue_wait", "median_queue_wait", "max_queue_wait", "p95_queue_wait", "p99_queue_wait",
    "avg_processing_time", "median_processing_time", "max_processing_time", "throughput_req_per_sec",
    "token_throughput_per_sec", "total_requests", "simulation_time", "fairness_index", "avg_prompt_length",
    "avg_output_length", "total_tokens_processed", "max_queue_length", "total_batches_processed",
    "total_requests_processed", "avg_batch_size", "starvation_rate",
}  # fmt: skip


def test_keys_and_fairness_by_hand(finished_run) -> None:
    """All keys are there; Jain's index and the starvation rate are those of the latencies 32, 24 and 12 ms."""
    flat = flat_metrics(finished_run.records())
    assert set(flat) == LLM_INFER_KEYS
    assert flat["fairness_index"] == pytest.approx(68**2 / (3 * (32**2 + 24**2 + 12**2)))
    assert flat["starvation_rate"] == 0.0
    assert flat_metrics(finished_run.records(), 1.2)["starvation_rate"] == 1 / 3
    assert flat["avg_batch_size"] == 1.5


WHOLE_RUN_KEYS = (
    "avg_latency", "max_latency", "avg_queue_wait", "max_queue_wait", "avg_processing_time", "max_processing_time",
    "starvation_rate",
)  # fmt: skip
AFTER_WARM_UP_KEYS = (
    "median_latency", "std_latency", "min_latency", "median_queue_wait", "p95_queue_wait", "p99_queue_wait",
    "median_processing_time", "fairness_index", "avg_prompt_length", "avg_output_length", "total_tokens_processed",
)  # fmt: skip


def _flat_of(rows: list[dict[str, str]]) -> dict[str, float]:
    totals = RequestTotals(1, ["main"])
    log = RequestLog(totals)
    for number, row in enumerate(rows):
        arrival, start, end = (
            round(float(row[key]) * 1e9) for key in ("arrival_s", "processing_start_s", "processing_end_s")
        )
        request = Request(number, arrival, int(row["prompt_tokens"]), int(row["output_tokens"]))
        log.add(RequestRow(request, "finished", 0, "main", arrival, start, end, end))
    log.flush()
    return flat_metrics(RunRecords(totals, [ReplicaLog(0).counters()], [], 1, len(rows)))


@pytest.mark.parametrize("name", ["fcfs_b8_rate4", "fcfs_b1_rate2"])
def test_agrees_with_llm_infer_on_its_own_rows(shared: Path, name: str) -> None:
    """Fed with llm-infer's rows, all or those after its warm-up of 500 as it does key by key, our figures are its."""
    reference = json.loads((shared / "llm-infer-ref" / f"{name}.json").read_text())["metrics"]
    with gzip.open(shared / "llm-infer-ref" / f"{name}.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    whole, after_warm_up = _flat_of(rows), _flat_of(rows[500:])
    for key in WHOLE_RUN_KEYS:
        assert whole[key] == pytest.approx(reference[key], rel=1e-6, abs=1e-9), key
    for key in AFTER_WARM_UP_KEYS:
        assert after_warm_up[key] == pytest.approx(reference[key], rel=1e-6, abs=1e-9), key
    for key in ("p50_latency", "p95_latency", "p99_latency"):
        assert whole[key] == pytest.approx(reference[key], rel=0.02), f"{key}: ours interpolates, its is the next rank"


@pytest.mark.parametrize(("name", "engine"), [("fcfs_b8_rate4", "static_two_phase"), ("fcfs_b8_rate4", "sglang")])
def test_a_study_of_llm_infer_gives_its_dictionary(shared: Path, tmp_path: Path, name: str, engine: str) -> None:
    """A run over llm-infer's requests has its figures, and counts its 375 batches of 8; elsewhere iterations count."""
    reference = json.loads((shared / "llm-infer-ref" / f"{name}.json").read_text())
    with gzip.open(shared / "llm-infer-ref" / f"{name}.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    trace = tmp_path / "trace.csv"
    lines = [f"{row['arrival_s']},{row['prompt_tokens']},{row['output_tokens']}" for row in rows]
    trace.write_text("\n".join(["arrived_at,num_prefill_tokens,num_decode_tokens", *lines]))
    coefficients = {key: reference[key] for key in ("alpha_s_per_token", "beta_s", "gamma_s_per_step")}
    pool = {
        "model": "llama-3.1-8b",
        "device": "h100-sxm",
        "engine": {
            "kind": engine,
            "max_num_seqs": reference["config"]["batch_size"],
            "max_model_len": 40_000,
            "num_kv_blocks": 400_000,
        },
    }
    document = {
        "name": "llm-infer",
        "workload": {"kind": "trace", "format": "vidur", "path": str(trace)},
        "fleet": {"pools": [pool], "network": {"router_to_replica_ms": 0, "replica_to_router_ms": 0}},
        "router": {"policy": "round_robin"},
        "predictor": {"kind": "two_phase", **coefficients},
    }
    study = Study.model_validate(document)
    directory = run_study(study, RunOptions(executor="inline", out=tmp_path / "run")).directory
    summary = json.loads((directory / "summary.json").read_text())
    flat = summary["flat"]
    assert flat["total_requests_processed"] == reference["completed"]
    if engine == "sglang":
        assert flat["total_batches_processed"] == summary["iterations"]
        return
    for key in ("total_batches_processed", "avg_batch_size", *WHOLE_RUN_KEYS):
        assert flat[key] == pytest.approx(reference["metrics"][key], rel=1e-6, abs=1e-9), key


def test_static_batches_are_counted_once(finished_run) -> None:
    """Of 4 iterations 3 hold prompts: as static batches of 3 requests that left; mixed fleets add up by replica."""
    for are_static, batches, members in (([], 4, 6), ([True, True], 3, 3), ([True], 3, 3), ([False, True], 4, 6)):
        flat = flat_metrics(finished_run.records(), are_static=are_static)
        assert flat["total_batches_processed"] == batches
        assert flat["avg_batch_size"] == members / batches
