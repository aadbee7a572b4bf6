"""Figures of latency and throughput, worked out by hand."""

import numpy as np
import pytest

from cluster_sim.calibration.case import WHOLE_RUN
from cluster_sim.calibration.latency_figures import figures, percentage_error


def test_time_per_output_token_counts_generated_tokens():
    """TPOT is (E2E - TTFT) / (n - 1): 0.1 s to the first of 11 tokens and 1.1 s in all give 0.1 s."""
    found = figures(np.array([0.1]), np.array([1.1]), np.array([0.0]), np.array([11]), np.array([0]))
    assert found[WHOLE_RUN, "tpot_mean"] == pytest.approx(0.1)
    assert found[WHOLE_RUN, "e2e_mean"] == pytest.approx(1.1)


def test_unfinished_requests_count_in_the_rate_only():
    """A request without an end is in no mean; the rate runs from the first sending to the last completion."""
    found = figures(
        np.array([0.5, np.nan]), np.array([2.0, np.nan]), np.array([1.0, 0.0]), np.array([5, 5]), np.array([0, 0])
    )
    assert found[WHOLE_RUN, "ttft_mean"] == 0.5
    assert found[WHOLE_RUN, "requests_per_s"] == pytest.approx(1 / 3.0)
    assert found[WHOLE_RUN, "tokens_per_s"] == pytest.approx(5 / 3.0)


def test_stages_are_figures_of_their_own():
    """Each load stage has its means beside those of the whole run."""
    ttft = np.array([0.1, 0.3])
    found = figures(ttft, ttft + 1, np.array([0.0, 10.0]), np.array([2, 2]), np.array([0, 1]), (0, 1))
    assert found[0, "ttft_mean"] == pytest.approx(0.1)
    assert found[1, "ttft_mean"] == pytest.approx(0.3)
    assert found[WHOLE_RUN, "ttft_mean"] == pytest.approx(0.2)


def test_one_token_has_no_time_per_token():
    """A request of one output token has E2E but no TPOT."""
    found = figures(np.array([0.1]), np.array([0.1]), np.array([0.0]), np.array([1]), np.array([0]))
    assert (WHOLE_RUN, "tpot_mean") not in found
    assert found[WHOLE_RUN, "e2e_mean"] == pytest.approx(0.1)


def test_percentage_error_is_of_the_measurement():
    """1.2 simulated against 1.0 measured is 20 %, and 0.8 too."""
    assert percentage_error(1.2, 1.0) == pytest.approx(20)
    assert percentage_error(0.8, 1.0) == pytest.approx(20)
