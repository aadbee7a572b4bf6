"""The recipe for a format of benchmark results, as it stands on the page."""

import json
from pathlib import Path

import pytest

from cluster_sim.calibration.benchmark import Server, load_benchmarks
from cluster_sim.calibration.result_format import RESULT_FORMATS
from cluster_sim.errors import InputError
from tests.outside_package import recipe


def test_the_recipe_reads_calls(tmp_path: Path) -> None:
    """Calls become requests in order of their start; a missing figure is named with file, line and key."""
    file = tmp_path / "run.json"
    call = {"at_s": 4.0, "tokens_in": 10, "tokens_out": 6, "first_s": 0.5, "total_s": 1.0}
    record = {"hammer_version": 1, "calls": [call, {**call, "at_s": 3.0, "tokens_in": 7}]}
    file.write_text(json.dumps(record), encoding="utf-8")
    server = Server("llama-3.1-8b", "h100-sxm", 1, {})
    with RESULT_FORMATS.isolated():
        exec(compile(recipe("result_format"), "recipe", "exec"), {"__name__": "recipe"})
        (case,) = load_benchmarks(file, server).cases
        assert case.requests.prompt_tokens.tolist() == [7, 10]
        assert case.measured[-1, "tpot_mean"] == pytest.approx(0.1)
        del call["first_s"]
        file.write_text(json.dumps(record), encoding="utf-8")
        with pytest.raises(InputError, match=r"run.json:1: first_s: is missing; it must be a number"):
            load_benchmarks(file, server)
