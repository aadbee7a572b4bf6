"""Fitting generators to traces."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import yaml
from pydantic import TypeAdapter

from cluster_sim.errors import InputError
from cluster_sim.workload.analysis.fitting import fit_arrivals, fit_workload
from cluster_sim.workload.columns import Columns
from cluster_sim.workload.kind_interface import WorkloadConfig
from tests.workload.sections import LONG_TAILED, long_tailed


@pytest.mark.parametrize(
    "arrivals",
    [
        {"kind": "poisson", "request_rate": 10},
        {"kind": "gamma", "request_rate": 10, "burstiness": 0.3},
        {"kind": "weibull", "request_rate": 10, "shape": 0.5},
        {"kind": "gamma", "request_rate": 10, "burstiness": 20},
    ],
)
def test_fitted_arrivals_are_those_drawn(rows: Callable[..., Any], arrivals: dict[str, Any]) -> None:
    """The family, the rate and the burstiness of a generated trace are found again."""
    times = rows(long_tailed(arrivals=arrivals)).arrival_ns
    found = fit_arrivals(times, times[-1] / 1e9)
    assert found["kind"] == arrivals["kind"]
    for name in arrivals.keys() - {"kind"}:
        assert found[name] == pytest.approx(arrivals[name], rel=0.06)


@pytest.mark.parametrize("model", ["empirical", "lognormal"])
def test_a_fit_generates_the_same_figures(rows: Callable[..., Any], model: Any) -> None:
    """A workload drawn from the fit has the trace's rate, mean lengths, quantiles and rank correlation."""
    lengths = LONG_TAILED if model == "empirical" else {
        "prompt": {"kind": "lognormal", "mean": 800, "std": 600},
        "output": {"kind": "lognormal", "mean": 200, "std": 100},
    }  # fmt: skip
    parts = [
        {"duration_s": 600, "workload": long_tailed(lengths=lengths)},
        {"duration_s": 600, "workload": long_tailed(arrivals={"kind": "poisson", "request_rate": 30}, lengths=lengths)},
    ]
    one = rows({"kind": "phases", "phases": parts})
    section = fit_workload(one, 300.0, model)
    assert [phase["workload"]["arrivals"]["kind"] for phase in section["phases"]] == ["poisson"] * 4
    two = rows(yaml.safe_load(yaml.safe_dump(section)), seed=77)
    assert len(two) == pytest.approx(len(one), rel=0.03)
    for name in ("prompt_tokens", "output_tokens"):
        first, second = getattr(one, name), getattr(two, name)
        assert second.mean() == pytest.approx(first.mean(), rel=0.03)
        for share in (0.1, 0.5, 0.9):
            assert np.quantile(second, share) == pytest.approx(np.quantile(first, share), rel=0.05)
    ranks = [np.corrcoef(np.argsort(np.argsort(part.prompt_tokens)), np.argsort(np.argsort(part.output_tokens)))[0, 1]
             for part in (one, two)]  # fmt: skip
    assert ranks[0] == pytest.approx(ranks[1], abs=0.04)
    in_first = [np.count_nonzero(part.arrival_ns < 600e9) / len(part) for part in (one, two)]
    assert in_first[0] == pytest.approx(in_first[1], abs=0.02)


def test_short_traces_make_one_phase_and_shorter_ones_none(rows: Callable[..., Any]) -> None:
    """Windows with few requests are joined until they have 20, to the trace's end; too few for a rate are refused."""
    block = rows(long_tailed(count=50))
    section = fit_workload(block, 0.5, "empirical")
    TypeAdapter(WorkloadConfig).validate_python(section)
    edges = np.cumsum([phase["duration_s"] for phase in section["phases"]])
    assert edges[-1] == pytest.approx(block.arrival_ns[-1] / 1e9)
    held = np.bincount(np.searchsorted(edges[:-1], block.arrival_ns / 1e9, side="right"))
    assert held.sum() == 50
    assert held.min() >= 20
    assert fit_workload(block, 100.0, "empirical")["kind"] == "synthetic", "one window is no phase"
    with pytest.raises(InputError, match="at least 20 requests"):
        fit_workload(block.rows(slice(0, 10)), 1.0, "empirical")
    equal = Columns(np.arange(100) * 10**8, np.full(100, 7), np.full(100, 3))
    fitted = fit_workload(equal, 1000.0, "lognormal")
    assert fitted["lengths"]["prompt"] == {"kind": "fixed", "value": 7}
    assert fitted["lengths"]["correlation"] == 0
