"""Prompt and output lengths."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from scipy import stats

from cluster_sim.errors import InputError
from cluster_sim.workload.lengths.length_sampler import Lengths, build_lengths
from cluster_sim.workload.sampling.random_streams import Stream

ADAPTER: TypeAdapter[Any] = TypeAdapter(Lengths)
LOGNORMAL = {"kind": "lognormal", "mean": 500, "std": 400}
GAMMA = {"kind": "gamma", "shape": 2, "scale": 100}


def draw(count: int, first: int = 0, **config: Any) -> tuple[Any, Any]:
    return build_lengths(ADAPTER.validate_python(config), Stream(3, "lengths")).draw(first, count)


def test_independent_lengths_are_independent() -> None:
    """Prompts and outputs have their own streams: no correlation, each with its own distribution."""
    prompt, output = draw(50_000, prompt=LOGNORMAL, output=GAMMA)
    assert abs(np.corrcoef(prompt, output)[0, 1]) < 0.02
    assert prompt.mean() == pytest.approx(500, rel=0.02)
    assert output.mean() == pytest.approx(200, rel=0.02)
    same, _ = draw(50_000, prompt=LOGNORMAL, output=LOGNORMAL)
    assert np.array_equal(prompt, same), "the prompt's draws do not depend on the output's distribution"


@pytest.mark.parametrize("prompt", [{"kind": "fixed", "value": 0}, {"kind": "uniform", "min": 0, "max": 0.4}])
def test_lengths_below_a_token_are_refused(prompt: dict[str, Any]) -> None:
    """A distribution that never gives a whole token has no valid value."""
    with pytest.raises(InputError, match=r"there must be at least 1, and its greatest value is 0(\.4)?; raise it"):
        draw(1, prompt=prompt, output=GAMMA)


def test_lengths_are_keyed_by_index() -> None:
    """Lengths of a range do not depend on where drawing began."""
    for config in ({"prompt": LOGNORMAL, "output": GAMMA, "correlation": 0.5},
                   {"kind": "joint", "prompt_tokens": [1, 5, 9], "output_tokens": [2, 4, 8]}):  # fmt: skip
        whole, part = draw(100, **config), draw(10, first=37, **config)
        assert np.array_equal(whole[0][37:47], part[0])
        assert np.array_equal(whole[1][37:47], part[1])


def test_the_copula_ties_and_keeps_the_marginals() -> None:
    """Rank correlation 6/pi asin(rho/2), and each length still has its own distribution."""
    prompt, output = draw(50_000, prompt=LOGNORMAL, output=GAMMA, correlation=0.7)
    expected = 6 / np.pi * np.arcsin(0.35)
    assert stats.spearmanr(prompt, output).statistic == pytest.approx(expected, abs=0.02)
    assert (
        stats.kstest(output + np.random.default_rng(0).uniform(-0.5, 0.5, 50_000), stats.gamma(2, scale=100).cdf).pvalue
        > 0.01
    )


def test_joint_pairs_stay_together() -> None:
    """Only given pairs occur, with their weights."""
    prompt, output = draw(30_000, kind="joint", prompt_tokens=[1, 5], output_tokens=[20, 40], weights=[1, 3])
    assert set(zip(prompt.tolist(), output.tolist(), strict=True)) == {(1, 20), (5, 40)}
    assert np.count_nonzero(prompt == 5) / 30_000 == pytest.approx(0.75, abs=0.01)


def test_empirical_pairs_come_from_a_trace(trace_file: Callable[..., str]) -> None:
    """Rows of a trace are drawn with replacement, prompt and output together."""
    path = trace_file("arrived_at,num_prefill_tokens,num_decode_tokens\n0,10,1\n1,20,2\n2,30,3\n")
    prompt, output = draw(3_000, kind="empirical", path=path)
    assert set(zip(prompt.tolist(), output.tolist(), strict=True)) == {(10, 1), (20, 2), (30, 3)}
    head = ADAPTER.validate_python({"kind": "empirical", "path": path, "first": 2})
    prompt, _ = build_lengths(head, Stream(3, "lengths")).draw(0, 100)
    assert set(prompt.tolist()) == {10, 20}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"kind": "joint", "prompt_tokens": [1], "output_tokens": [1, 2]}, "the same number of items"),
        ({"kind": "joint", "prompt_tokens": [0], "output_tokens": [1]}, "at least 1"),
        ({"kind": "joint", "prompt_tokens": [1], "output_tokens": [1], "weights": [0]}, "zero"),
        ({"prompt": GAMMA}, "Field required"),
        ({"prompt": GAMMA, "output": GAMMA, "correlation": 2}, "less than or equal to 1"),
        ({"kind": "other"}, "does not match any of the expected tags"),
    ],
)
def test_wrong_lengths_are_refused(config: dict[str, Any], message: str) -> None:
    """Inconsistent lengths are refused with a reason."""
    with pytest.raises(ValidationError, match=message):
        ADAPTER.validate_python(config)
