"""The normal quantile."""

import numpy as np
import pytest
from scipy import special

from cluster_sim.workload.sampling.normal_quantile import normal_cdf, normal_quantile


def test_quantiles_agree_with_scipy() -> None:
    """All three ranges of the approximation are right to 1e-13."""
    u = np.concatenate([np.linspace(0.001, 0.999, 5001), 10.0 ** -np.arange(1.0, 300.0), [1 - 1e-15]])
    assert np.allclose(normal_quantile(u), special.ndtri(u), rtol=1e-13, atol=1e-13)


def test_ends_are_infinite() -> None:
    """Probability 0 and 1 give the ends of the line."""
    assert normal_quantile(np.array([0.0, 1.0])).tolist() == [-np.inf, np.inf]


def test_cdf_inverts_the_quantile() -> None:
    """P(Z <= 1.96) is 97.5 %."""
    assert normal_cdf(1.959963984540054) == pytest.approx(0.975)
