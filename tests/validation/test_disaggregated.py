"""The closed form of two stations."""

import pytest

from cluster_sim.hardware.predictors.kinds.linear import LinearOptions, LinearPredictor
from tests.hardware.replicas import hardware
from validation.disaggregated import pair_steady_state, score_disaggregated
from validation.silicon import Server

HARDWARE = hardware("llama-3.1-8b")
SERVER = Server(LinearPredictor(LinearOptions(alpha_us=1000.0, beta_us=10.0), HARDWARE), "m", 0, HARDWARE)


def test_prompts_hold_back_where_they_take_longer() -> None:
    """A prompt of 900 tokens takes 10 ms, so one worker gives 100 requests/s.  Each of 4 outputs takes 1 ms and 10 us a
    sequence, 4.04 ms in all: 0.4 requests decode at a time, and of 8 requests all others wait for their prompts.
    """
    answer = pair_steady_state(SERVER, SERVER, (1, 1), 8, 900, 4)
    assert answer.tpot_s == pytest.approx(1.01e-3)
    assert answer.ttft_s == pytest.approx(8 * 10e-3 - 3 * 1.01e-3)


def test_without_a_queue_a_prompt_takes_its_own_time() -> None:
    """One request: 10 ms, then steps of 1.01 ms; the fourth token comes with the step of the next request's prompt."""
    answer = pair_steady_state(SERVER, SERVER, (4, 4), 1, 900, 4)
    assert answer.ttft_s == pytest.approx(10e-3 + 1.01e-3)


def test_rows_with_complete_fields_are_scored(shared) -> None:
    """Those that say how many workers there are."""
    ttft, tpot, skipped = score_disaggregated(shared / "ground-truth" / "aic-silicon-e2e", "vllm")
    assert len(ttft) == len(tpot) > 100
    assert len(tpot) + len(skipped) == 851
