"""Step times of the mean-field estimate: tables against a predictor whose steps can be computed by hand."""

from typing import Any

import numpy as np
import pytest

from cluster_sim.config.schema.study import Study
from cluster_sim.simulation.mean_field.step_costs import StepCosts, mean_step_s, prompt_share, units_a_step
from cluster_sim.simulation.plan import make_plan

LINEAR: dict[str, Any] = {"kind": "linear", "alpha_us": 1000.0, "beta_us": 10.0, "gamma_us": 0.1, "prefill_us": 500.0}


def costs(*, mixes: bool, prompt: int = 200, budget: int = 1000) -> StepCosts:
    """Return the tables for prompts of one length and outputs of 100 tokens."""
    pool = {"model": "llama-3-8b", "device": "h100-sxm"}
    lengths = {"prompt": {"kind": "fixed", "value": prompt}, "output": {"kind": "fixed", "value": 100}}
    workload = {
        "kind": "synthetic",
        "count": 1,
        "arrivals": {"kind": "constant", "request_rate": 1},
        "lengths": lengths,
    }
    study = Study.from_dict({"workload": workload, "fleet": {"pools": [pool]}, "predictor": LINEAR})
    predictor = make_plan(study).pools[0].predictor(study)
    return StepCosts(predictor, np.array([prompt]), np.array([100]), budget, 64, mixes=mixes)


def test_decodes_follow_from_size_and_context() -> None:
    """A step of 8 decodes with 250 cached tokens each takes 1000 + 8 x 10 + 2000 x 0.1 us."""
    times = costs(mixes=True).decode_s(np.array([8, 1]), np.array([250.0, 300.0]))
    assert times == pytest.approx([1280e-6, 1040e-6])


def test_a_prompt_adds_its_tokens_to_a_step_that_mixes() -> None:
    """200 tokens add 500 + 200 x 10 us to the decodes' step, the next prompt in it only its tokens."""
    found = costs(mixes=True)
    assert found.unit_tokens == 200
    assert found.first_s(np.array([8.0]))[0] == pytest.approx(2500e-6)
    assert found.further_s(np.array([8.0]))[0] == pytest.approx(2000e-6)
    assert found.most_units(np.array([0.0, 200.0])).tolist() == [5.0, 4.0]


def test_a_prompt_apart_costs_a_whole_step() -> None:
    """An engine that computes prompts in steps of their own adds 1000 + 500 + 200 x 10 us."""
    assert costs(mixes=False).first_s(np.array([8.0]))[0] == pytest.approx(3500e-6)


def test_a_prompt_beyond_the_budget_comes_in_units() -> None:
    """1,500 tokens are 2 chunks of 1,000 and 500 in a budget of 1,000: 2 x 500 + 15,000 us, on 1.5 units."""
    found = costs(mixes=True, prompt=1500)
    assert found.unit_tokens == 1000
    # Without decodes the steps themselves count, too.
    assert found.first_s(np.array([0.0]))[0] == pytest.approx((2 * 1500 + 15_000) / 1.5 * 1e-6)


def test_units_of_a_step_balance() -> None:
    """Where each unit adds half a step, q = r (1 + q / 2): 2 at a rate of 1, and as many as fit beyond a rate of 2."""
    one, half = np.ones(3), np.full(3, 0.5)
    found = units_a_step(one, half, half, np.array([0.5, 1.0, 3.0]), np.full(3, 8.0))
    assert found == pytest.approx([2 / 3, 2.0, 8.0])
    assert mean_step_s(one, half, half, found, np.full(3, 8.0)) == pytest.approx([4 / 3, 2.0, 5.0])


def test_share_of_steps_with_prompts() -> None:
    """It is q where a step takes one unit, 1 - exp(-q) where it takes many, and their mean where it takes two."""
    share = prompt_share(np.full(3, 0.5), np.array([1.0, 1e9, 2.0]))
    assert share == pytest.approx([0.5, 1 - np.exp(-0.5), (1.5 - np.exp(-0.5)) / 2])
