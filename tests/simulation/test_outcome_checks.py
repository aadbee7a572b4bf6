"""Runs whose input shows only by its outcome to be wrong."""

from pathlib import Path

import pytest

from cluster_sim.errors import InputError
from tests.small_run import run_small

TWO = "fleet.pools=[{name: a, model: qwen3-8b, device: h100-sxm}, {name: b, model: qwen3-14b, device: h100-sxm}]"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["fleet.pools.0.engine.max_model_len=40"],
            r"^workload: no replica can ever .* 150 requests \(150 longer than the context\): .* with 40 tokens of",
        ),
        (
            ["fleet.pools.0.engine.num_kv_blocks=3"],
            r"\(150 longer than the KV cache\): .* and 32 of KV cache",
        ),
        ([TWO], r"\(150 model not served\): pool a serves qwen3-8b .*; workload\.model, or the trait model, names"),
        (
            ["run.end_s=0.0001"],
            r"^run\.end_s: 0\.0001 s is before .*: the first request arrives at 0\.\d+ s",
        ),
    ],
)
def test_runs_in_which_nothing_can_happen_are_wrong_input(tmp_path: Path, overrides: list[str], message: str) -> None:
    """Where no replica can ever run a request, or none arrives, the message says why, and nothing is left behind."""
    with pytest.raises(InputError, match=message):
        run_small(tmp_path, *overrides)
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]


def test_losses_are_results(tmp_path: Path) -> None:
    """One request that runs beside refused ones, and requests whose clients all give up, make a result."""
    mixed = run_small(tmp_path, "fleet.pools.0.engine.max_model_len=200")
    assert 0 < mixed.summary["requests"]["refused"] < 150
    given_up = run_small(tmp_path, "router.client_timeout_s=0.001")
    assert given_up.summary["requests"]["finished"] == 0
