"""The linear form: its sum by hand, one kernel, and its floor."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.hardware.predictors.kinds.linear import LinearOptions
from cluster_sim.hardware.predictors.pool_predictor import build_predictor
from tests.hardware.replicas import hardware

CONFIG = LinearOptions(
    alpha_us=5000, beta_us=10, gamma_us=0.05, prefill_us=100, prefill_pair_us=0.001, frontend_us=3000
)


def test_sum_by_hand() -> None:
    """4 decodes over 1,000 tokens: 5 ms + 4 * 10 us + 50 us; a chunk of 9 adds its tokens, pairs and constant."""
    predictor = build_predictor(CONFIG, hardware())
    assert predictor.step_ns(BatchShape(4, 1000)) == 5_090_000
    assert predictor.step_ns(BatchShape(4, 1000, [(9, 100)], 1)) == pytest.approx(
        5_090_000 + 90_000 + 100_000 + 945, abs=1
    )
    assert predictor.floor_ns() == 5_010_000
    assert predictor.frontend_ns == 3_000_000
    assert predictor.is_calibrated


def test_stages_share_evenly() -> None:
    """With two stages each takes half."""
    predictor = build_predictor(CONFIG, hardware(pipeline_parallel=2))
    assert predictor.step_ns(BatchShape(4, 1000), 1) == 2_545_000


@settings(max_examples=50, deadline=None)
@given(decodes=st.integers(1, 1000), kv=st.integers(0, 10**7), steps=st.integers(1, 500))
def test_decode_run_is_repeated_steps(decodes: int, kv: int, steps: int) -> None:
    """Runs equal single steps to the bit."""
    predictor = build_predictor(CONFIG, hardware())
    run = predictor.decode_run_ns(decodes, kv, steps)
    assert run.tolist() == [predictor.step_ns(BatchShape(decodes, kv + i * decodes)) for i in range(steps)]


def test_prefill_and_decode_of_one_cost_round_alike() -> None:
    """At exactly half a nanosecond both round up, or the floor would lie above one of them."""
    config = LinearOptions(kind="linear", alpha_us=0.002, beta_us=250.0)
    predictor = build_predictor(config, hardware(pipeline_parallel=4))
    prefill, decode = BatchShape(prefills=[(1, 0)], completed_prefills=1), BatchShape(decodes=1)
    assert (predictor.step_ns(prefill), predictor.step_ns(decode), predictor.floor_ns()) == (62_501, 62_501, 62_501)
