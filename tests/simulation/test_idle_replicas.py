"""Times of a request that has a replica to itself."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cluster_sim.metrics.time_parts import IdleReplica
from cluster_sim.simulation.idle_replicas import idle_replica
from cluster_sim.simulation.plan import make_plan
from tests.small_run import run_small, small_study

S = 1_000_000_000
ALONE = ("workload.arrivals={kind: constant, request_rate: 0.5}", "workload.count=20")


@pytest.mark.parametrize(
    ("prompt", "output", "engine"),
    [
        (700, 60, "{}"),
        (3000, 2, "{kind: sarathi, max_num_batched_tokens: 512}"),
        (40, 80, "{kind: sglang}"),
    ],
)
def test_a_request_alone_takes_what_the_summary_says(tmp_path: Path, prompt: int, output: int, engine: str) -> None:
    """Requests that never meet spend within 2 % of the interpolated times on prompt and answer."""
    lengths = f"workload.lengths={{prompt: {{kind: fixed, value: {prompt}}}, output: {{kind: fixed, value: {output}}}}}"
    summary = run_small(tmp_path, lengths, *ALONE, f"fleet.pools.0.engine={engine}").summary
    (entry,) = summary["idle_replicas"]
    pool = IdleReplica.from_summary(entry)
    lengths_ns = np.array([prompt]), np.array([output])
    decode_s = pool.decode_alone_ns(*lengths_ns)[0] / S
    assert decode_s == pytest.approx(summary["decode_s"]["mean"], rel=0.02)
    prefill_s = pool.prefill_alone_ns(lengths_ns[0], np.array([0]))[0] / S
    assert prefill_s == pytest.approx(summary["prefill_s"]["mean"] - entry["return_link_s"], rel=0.02)


def test_data_parallel_ranks_without_work_cost_nothing(tmp_path: Path) -> None:
    """A request alone on a replica of two ranks takes what the summary says."""
    pool = (
        "fleet.pools.0={name: main, model: qwen3-30b-a3b, device: h100-sxm, data_parallel: 2, replicas: 1, "
        "engine: {kind: vllm_v1, num_kv_blocks: 4000}}"
    )
    lengths = "workload.lengths={prompt: {kind: fixed, value: 700}, output: {kind: fixed, value: 60}}"
    summary = run_small(tmp_path, pool, lengths, *ALONE, "workload.count=5").summary
    idle = IdleReplica.from_summary(summary["idle_replicas"][0])
    decode_s = idle.decode_alone_ns(np.array([700]), np.array([60]))[0] / S
    assert decode_s == pytest.approx(summary["decode_s"]["mean"], rel=0.02)


def test_steps_that_yield_several_tokens_are_not_known(tmp_path: Path) -> None:
    """How many tokens a step of speculative decoding yields is a matter of chance, so nothing is said."""
    (pool,) = make_plan(small_study(tmp_path)).simulation().pools
    entry = idle_replica(replace(pool, limits=replace(pool.limits, tokens_per_step=3)), cold_start_ns=2 * S)
    assert entry["cold_start_s"] == 2.0
    assert (entry["tokens"], entry["prefill_s"], entry["decode_s"]) == (None, None, None)
    assert not IdleReplica.from_summary(entry).knows_steps
