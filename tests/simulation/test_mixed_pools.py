"""Pools of one model that differ: a request goes to replicas that can run it, with equal results everywhere."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cluster_sim.config.loading.load import load_study
from cluster_sim.simulation.inline import InlineExecutor
from cluster_sim.simulation.plan import make_plan
from tests.engine.in_memory import InMemoryExecutor
from tests.evidence import evidence_of
from tests.small_run import run_small

FLEET = (
    "fleet.pools=[{name: small, model: llama-3-8b, device: h100-sxm, replicas: 2, "
    "engine: {max_model_len: 500, num_kv_blocks: 800}}, {name: big, model: llama-3-8b, device: h100-sxm, replicas: 2, "
    "engine: {max_model_len: 900, num_kv_blocks: 800, block_size: 32}}]"
)
POLICIES = ("least_outstanding", "least_loaded", "least_waiting", "round_robin", "random")


@pytest.mark.parametrize("policy", POLICIES)
def test_long_requests_go_where_they_fit(tmp_path: Path, policy: str) -> None:
    """Beyond 500 tokens only the pool of 900 serves, beyond 900 nobody; short ones go to both; the reason is stated."""
    result = run_small(tmp_path, FLEET, f"router.policy={policy}")
    rows = pq.read_table(result.directory / "requests.parquet").to_pylist()
    assert [row["request_id"] for row in rows] == list(range(150))
    pools: dict[str, set[str | None]] = {"short": set(), "long": set(), "longest": set()}
    for row in rows:
        tokens = row["prompt_tokens"] + row["output_tokens"]
        pools["short" if tokens <= 500 else "long" if tokens <= 900 else "longest"].add(row["pool"])
        assert (row["status"], row["reason"]) == (
            ("finished", None) if tokens <= 900 else ("refused", "context_length")
        )
    assert pools == {"short": {"small", "big"}, "long": {"big"}, "longest": {None}}
    refused = result.summary["requests"]["refused"]
    assert refused > 0
    counts = {reason: count for reason, count in result.summary["reasons"].items() if count}
    assert counts == {"context_length": refused}


@pytest.mark.parametrize("policy", POLICIES)
def test_placement_and_fast_forwarding_change_nothing(tmp_path: Path, policy: str) -> None:
    """Rows, counters and series are those of the inline executor in groups that answer in random order."""
    from random import Random

    run_small(tmp_path, FLEET)
    study = load_study(tmp_path / "study.yaml", [FLEET, f"router.policy={policy}"])
    expected = evidence_of(InlineExecutor(), make_plan(study).simulation())
    single = load_study(tmp_path / "study.yaml", [FLEET, f"router.policy={policy}", "run.macro_steps=false"])
    assert evidence_of(InlineExecutor(), make_plan(single).simulation()) == expected
    for placement in ([[0, 2], [1, 3]], [[3], [1, 0], [2]]):
        executor = InMemoryExecutor(placement, Random(1).randrange)
        assert evidence_of(executor, make_plan(study).simulation()) == expected
