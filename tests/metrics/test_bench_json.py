"""Tests of the ``vllm bench serve`` record."""

import pytest

from cluster_sim.metrics.bench_json import OfferedLoad, bench_json
from cluster_sim.metrics.peaks import SecondPeaks

REQUIRED = {
    "date", "backend", "model_id", "tokenizer_id", "num_prompts", "request_rate", "burstiness", "max_concurrency",
    "duration", "completed", "total_input_tokens", "total_output_tokens", "request_throughput", "request_goodput",
    "output_throughput", "total_token_throughput",
    *(f"{figure}_{name}_ms" for figure in ("mean", "median", "std", "p99") for name in ("ttft", "tpot", "itl", "e2el")),
}  # fmt: skip

OURS = {
    "endpoint_type", "label", "failed", "max_output_tokens_per_s", "max_concurrent_requests",
    "gpu_count", "tensor_parallel_size", "pipeline_parallel_size",
    "data_parallel_size", *(f"p{rank}_{name}_ms" for rank in (90, 95) for name in ("ttft", "tpot", "itl", "e2el")),
}  # fmt: skip
"""Keys that vLLM writes with further options, or that its plotting tools read."""


def test_record_by_hand(finished_run) -> None:
    """Keys are vLLM's; figures are in ms and the duration ends with the last completion, at 32 ms."""
    load = OfferedLoad(request_rate=7.5, max_concurrency=9)
    record = bench_json(finished_run.metadata, finished_run.records(), load, SecondPeaks(0, 0))
    assert set(record) == REQUIRED | OURS
    assert (record["request_rate"], record["burstiness"], record["max_concurrency"]) == (7.5, 1.0, 9)
    assert record["duration"] == pytest.approx(0.032)
    assert record["completed"] == 3
    assert record["failed"] == 1
    assert record["median_ttft_ms"] == pytest.approx(12.0)
    assert record["mean_tpot_ms"] == pytest.approx(10.0)
    assert record["request_goodput"] == pytest.approx(2 / 0.032)
    assert record["tensor_parallel_size"] == 4
