"""Breakdowns of whole studies: the parts add up to the end-to-end latency of every request, to the nanosecond."""

from pathlib import Path

import pytest

from cluster_sim.config.loading.load import load_study
from cluster_sim.metrics.time_parts import PARTS, Fleet, time_parts_ns, total_ns
from cluster_sim.output.request_rows import read_blocks
from cluster_sim.simulation.run import run_study
from cluster_sim.simulation.run_options import RunOptions

pytestmark = pytest.mark.acceptance

ENCODERS = [
    "workload.traits.multimodal.probability=0.5",
    "workload.traits.multimodal.items={kind: uniform, min: 1, max: 4}",
    "workload.traits.multimodal.tokens_per_item={kind: fixed, value: 576}",
    "fleet.encoders={instances: 4, tokens_per_s: 40000, overhead_ms: 20, transfer_ms: 2}",
]
TRACE = Path(__file__).parents[2].parent / "shared/traces/azure_llm_2023_conv.csv.gz"


@pytest.mark.parametrize(
    ("study", "overrides", "requests", "expected"),
    [
        ("azure_conv.yaml", [f"workload.path={TRACE}"], 19_365, {"queue", "prefill", "decode", "decode_batch"}),
        ("studies/prefill_decode.yaml", [], 1_500, {"prefill", "handover", "transfer", "decode"}),
        ("studies/autoscaling.yaml", [], 0, {"queue", "decode_batch"}),
        ("studies/prefill_decode.yaml", ENCODERS, 1_500, {"encoding", "prefill", "handover", "transfer", "decode"}),
    ],
)
def test_parts_add_up(
    checkout: Path, tmp_path: Path, study: str, overrides: list[str], requests: int, expected: set[str]
) -> None:
    """For the Azure trace, a study with prefill and decode apart, and one that scales."""
    if "azure" in study and not TRACE.exists():
        pytest.skip(f"needs {TRACE}")
    loaded = load_study(checkout / "conf" / study, overrides)
    result = run_study(loaded, RunOptions(executor="inline", out=tmp_path / "run"))
    fleet = Fleet.from_summary(result.summary)
    names, ended, found = [pool["name"] for pool in result.summary["pools"]], 0, set()
    for block in read_blocks(result.directory / "requests.parquet", names):
        finished = block._replace(rows=block.rows[block.column("finish_ns") >= 0])
        parts = time_parts_ns(finished, fleet, 0)
        assert (parts >= 0).all()
        assert (parts.sum(axis=1) == finished.column("finish_ns") - finished.column("arrival_ns")).all()
        ended += len(finished.rows)
        found |= {name for name in PARTS if total_ns(parts, [name]).any()}
    assert ended >= requests
    assert expected <= found
