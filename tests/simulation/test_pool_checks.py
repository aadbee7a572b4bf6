"""Engines of pools that no real engine or GPU would run."""

from pathlib import Path

import pytest

from cluster_sim.errors import InputError
from cluster_sim.simulation.plan import make_plan
from tests.small_run import small_study

ENGINE = "fleet.pools.0.engine"
LINEAR = "predictor={kind: linear, alpha_us: 8000, beta_us: 20}"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            f"{ENGINE}.num_kv_blocks=33000",
            "num_kv_blocks: 33000 blocks of 2 MiB are more than the 32886 that the 79.2 GiB",
        ),
        (f"{ENGINE}.block_size=17", "block_size: vllm_v1 has blocks of 1, 8, 16, 32, 64, 128 and 256 tokens; got 17"),
        (f"{ENGINE}.version='2.3'", "version: vllm_v1 is modelled from version 0.6 to 1.99; got 2.3"),
        ("fleet.pools.0.model=llama-3-70b", "num_kv_blocks: 800 blocks of 5 MiB are more than the 0 that"),
    ],
)
def test_impossible_engines_are_refused(tmp_path: Path, override: str, message: str) -> None:
    """Blocks beyond the memory beside the weights ((85,029,027,840 - 16.06e9) / 2 MiB = 32,886), sizes of blocks and
    versions that the engine has not are refused with the key.
    """
    with pytest.raises(InputError) as caught:
        make_plan(small_study(tmp_path, override))
    assert f"{ENGINE}.{message}" in str(caught.value)


def test_memory_is_checked_unless_said_otherwise(tmp_path: Path) -> None:
    """A study may say that blocks need not fit; predictors that do not read the hardware never ask."""
    blocks = f"{ENGINE}.num_kv_blocks=400000"
    make_plan(small_study(tmp_path, blocks, "fleet.pools.0.checks_memory=false"))
    make_plan(small_study(tmp_path, blocks, LINEAR))
