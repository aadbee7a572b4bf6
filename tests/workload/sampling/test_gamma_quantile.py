"""The gamma quantile."""

import numpy as np
import pytest
from scipy import special

from cluster_sim.workload.sampling.gamma_quantile import GammaQuantile

PROBABILITIES = np.concatenate(
    [np.linspace(0.0005, 0.9995, 4001), 10.0 ** -np.arange(4.0, 16.0), [1 - 1e-9, 1 - 1e-14]]
)


@pytest.mark.parametrize("shape", [0.01, 0.05, 0.3, 0.5, 1.0, 2.0, 10.0, 100.0, 300.0, 1e4])
def test_quantiles_agree_with_scipy(shape: float) -> None:
    """The relative error is below 2e-5 from very bursty to nearly constant gaps, tails included."""
    mine, truth = GammaQuantile(shape).values(PROBABILITIES), special.gammaincinv(shape, PROBABILITIES)
    seen = truth > 1e-250
    assert np.abs(mine[seen] / truth[seen] - 1).max() < 2e-5


@pytest.mark.parametrize("shape", [0.05, 1.0, 50.0])
def test_cdf_agrees_with_scipy(shape: float) -> None:
    """The distribution function is exact below and above the mean, and 0 up to 0."""
    table = GammaQuantile(shape)
    for value in (0.3 * shape, shape, 3 * shape):
        assert table.cdf(value) == pytest.approx(special.gammainc(shape, value), abs=1e-13)
    assert table.cdf(0.0) == 0.0
