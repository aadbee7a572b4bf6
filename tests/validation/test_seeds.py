"""Runs near saturation are simulated with several seeds, others once."""

from functools import partial

import numpy as np

from cluster_sim.calibration.case import WHOLE_RUN, Case, Requests
from cluster_sim.calibration.case_run import resolve_case
from cluster_sim.hardware.predictors.kinds.linear import LinearOptions, LinearPredictor
from validation.seeds import SEEDS, run_seeds


def drawn(count, drawn_seeds, seed):
    drawn_seeds.append(seed)
    arrivals = np.sort(np.random.default_rng(seed).uniform(0, 4, count))
    ones = np.ones(count, np.int64)
    return Requests(arrivals, 10 * ones, 20 * ones, 0 * ones)


def seeded(count, *, is_drawn=True):
    drawn_seeds = []
    draw = partial(drawn, count, drawn_seeds)
    engine = {"kind": "vllm_v1", "max_num_seqs": 4, "max_model_len": 4096}
    case = Case(
        dataset="d",
        run="r",
        model="meta-llama/Llama-3.1-8B",
        device="H100",
        tensor_parallel=1,
        workload="w",
        requests=draw(0),
        engine=engine,
        measured={(WHOLE_RUN, "ttft_mean"): 1.0},
        draw=draw if is_drawn else None,
    )
    resolved = resolve_case(case)
    predictor = LinearPredictor(LinearOptions(alpha_us=10_000.0, beta_us=0.0), resolved.hardware)
    return run_seeds(resolved, predictor), drawn_seeds


def test_full_slots_are_averaged_over_seeds():
    """Sixteen requests a second of 0.2 s each fill four slots: eight draws, their median and their spread."""
    result, seeds = seeded(64)
    assert seeds == list(range(SEEDS))
    assert result.spread["ttft_mean"] > 1
    assert result.figures[WHOLE_RUN, "ttft_mean"] > 0


def test_a_quiet_run_and_a_recorded_one_are_simulated_once():
    """Two requests in four seconds fill nothing, and recorded arrivals are what they were."""
    for result, seeds in (seeded(2), seeded(64, is_drawn=False)):
        assert seeds == [0]
        assert result.spread == {}
