"""Summaries of earlier releases: their runs can still be shown."""

import json
import shutil
from pathlib import Path
from typing import Any

from cluster_sim.report.openmetrics import write_openmetrics
from cluster_sim.report.run_data import RunData
from cluster_sim.report.run_page import run_page

NEW_KEYS = ("warnings", "window", "is_steady_state", "growth_ratio", "reasons", "whole_run")
NEW_OF_LIMITS = ("low_s", "high_s", "verdict", "requests", "lost", "cut_off_passed", "cut_off_left_out")
NEW_OF_POOLS = (
    "model_keys_not_understood", "model_parts_left_out", "predictor_choice", "error_band_case", "running_p99_ratio",
    "kv_used_p99_ratio",
)  # fmt: skip


def without(mapping: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if key not in keys}


def test_a_run_of_version_1_is_shown(run_directory: Path, tmp_path: Path) -> None:
    """The page of a run of version 1 says what its summary says: verdicts from ``is_met``, no band, no warning."""
    run = tmp_path / "run"
    shutil.copytree(run_directory, run)
    summary = without(json.loads((run / "summary.json").read_text()), *NEW_KEYS)
    limits = [without(limit, *NEW_OF_LIMITS) | {"is_met": False} for limit in summary["slo"]["limits"]]
    slo = without(summary["slo"], "verdict", "left_out", "classes") | {"limits": limits, "is_met": False}
    coverage = without(summary["predictor_coverage"], "case", "is_near_saturation") | {
        "error_band_percent": {"e2e": 2.73}
    }
    pools = [without(pool, *NEW_OF_POOLS) for pool in summary["pools"]]
    summary |= {"summary_version": 1, "slo": slo, "predictor_coverage": coverage, "pools": pools}
    (run / "summary.json").write_text(json.dumps(summary))

    data = RunData.read(run)
    assert limits
    assert {limit["verdict"] for limit in data.summary["slo"]["limits"]} == {"missed"}
    page = run_page(data)
    assert "(error unknown)" in page
    assert '<span class="missed-word">missed</span>' in page
    assert write_openmetrics(run).is_file()
