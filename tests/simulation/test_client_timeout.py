"""Clients that give up."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cluster_sim.config.schema.study import Study
from cluster_sim.simulation.run import run_study
from cluster_sim.simulation.run_options import RunOptions


def test_a_client_gives_up_at_its_patience_and_no_sooner(tmp_path: Path) -> None:
    """On an overloaded replica requests either end within 2 s of their arrival or are cancelled at exactly 2 s."""
    study = Study.model_validate(
        {
            "workload": {
                "kind": "synthetic",
                "count": 300,
                "arrivals": {"kind": "poisson", "request_rate": 30},
                "lengths": {"prompt": {"kind": "fixed", "value": 500}, "output": {"kind": "fixed", "value": 100}},
            },
            "fleet": {"pools": [{"model": "llama-3-8b", "device": "h100-sxm", "engine": {"max_num_seqs": 8}}]},
            "router": {"policy": "round_robin", "client_timeout_s": 2.0},
        }
    )
    result = run_study(study, RunOptions(executor="inline", out=tmp_path / "run"))
    rows = pq.read_table(result.directory / "requests.parquet").to_pylist()
    waited = {
        status: [r["finish_s"] - r["arrival_s"] for r in rows if r["status"] == status]
        for status in ("finished", "cancelled")
    }
    assert len(waited["finished"]) + len(waited["cancelled"]) == 300
    assert min(len(waited["finished"]), len(waited["cancelled"])) > 20
    assert max(waited["finished"]) <= 2.0
    assert waited["cancelled"] == pytest.approx([2.0] * len(waited["cancelled"]))
    assert result.summary["checks"]["requests"]["holds"]
    assert result.summary["checks"]["little"]["relative_error"] == 0.0


@pytest.mark.parametrize("macro_steps", [True, False])
def test_a_cancelled_request_keeps_what_happened(tmp_path: Path, macro_steps: bool) -> None:
    """100 tokens at 100 ms each from 1.0 s on; the client leaves after 2 s, with 20 of them in hand."""
    study = Study.model_validate(
        {
            "workload": {
                "kind": "synthetic",
                "count": 1,
                "arrivals": {"kind": "constant", "request_rate": 1},
                "lengths": {"prompt": {"kind": "fixed", "value": 16}, "output": {"kind": "fixed", "value": 100}},
            },
            "fleet": {
                "pools": [{"model": "llama-3-8b", "device": "h100-sxm", "engine": {"async_scheduling": False}}],
                "network": {"router_to_replica_ms": 0.0, "replica_to_router_ms": 0.0},
            },
            "router": {"policy": "round_robin", "client_timeout_s": 2.0},
            "predictor": {"kind": "linear", "alpha_us": 100_000},
            "run": {"macro_steps": macro_steps},
        }
    )
    result = run_study(study, RunOptions(executor="inline", out=tmp_path / "run"))
    (row,) = pq.read_table(result.directory / "requests.parquet").to_pylist()
    assert (row["scheduled_s"], row["first_token_s"], row["finish_s"]) == (1.0, 1.1, 3.0)
    assert (row["generated_tokens"], row["output_tokens"]) == (20, 100)
    assert (row["status"], row["reason"]) == ("cancelled", "client_timeout")
    assert (row["ttft_s"], row["e2e_s"]) == (pytest.approx(0.1), None)
