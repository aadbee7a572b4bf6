"""Sessions through the whole product: prefix caches find the context that earlier turns left."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cluster_sim.config.schema.study import Study
from cluster_sim.options import BASE_DIRECTORY
from cluster_sim.simulation.run import run_study
from cluster_sim.simulation.run_options import RunOptions


@pytest.mark.parametrize("is_cached", [True, False])
def test_later_turns_hit_the_context(tmp_path: Path, is_cached: bool) -> None:
    """With prefix caching on one roomy replica, every later turn finds all whole blocks of the turns before it."""
    fixed = {"kind": "fixed", "value": 1.0}
    document = {
        "name": "sessions",
        "workload": {
            "kind": "sessions",
            "arrivals": {"kind": "poisson", "request_rate": 2.0},
            "count": 20,
            "turns": {"kind": "fixed", "value": 4},
            "lengths": {
                "prompt": {"kind": "uniform", "min": 50, "max": 200},
                "output": {"kind": "uniform", "min": 20, "max": 60},
            },
            "think_time_s": fixed,
        },
        "fleet": {
            "pools": [
                {
                    "name": "main",
                    "model": "llama-3-8b",
                    "device": "h100-sxm",
                    "replicas": 1,
                    "engine": {"enable_prefix_caching": is_cached},
                }
            ]
        },
        "run": {"executor": "inline"},
    }
    study = Study.model_validate(document, context={BASE_DIRECTORY: tmp_path})
    result = run_study(study, RunOptions(executor="inline", out=tmp_path / "run"))
    rows = sorted(pq.read_table(result.directory / "requests.parquet").to_pylist(), key=lambda row: row["request_id"])
    assert len(rows) == 80
    assert {row["status"] for row in rows} == {"finished"}
    for number, row in enumerate(rows):
        turn = number % 4
        context = rows[number - 1]["prompt_tokens"] + rows[number - 1]["output_tokens"] if turn else 0
        assert row["prompt_tokens"] > context
        if not is_cached or not turn:
            assert row["cached_tokens"] == 0
        else:
            # The last token generated has no KV yet when its turn ends.
            assert row["cached_tokens"] == (context - 1) // 16 * 16
            assert row["arrival_s"] == pytest.approx(rows[number - 1]["finish_s"] + 1.0, abs=1e-6)
    summary = json.loads((result.directory / "summary.json").read_text())
    assert summary["requests"]["finished"] == 80
