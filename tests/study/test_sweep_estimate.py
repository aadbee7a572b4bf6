"""Estimate of the cost of a sweep."""

from cluster_sim.study.sweep_estimate import SweepEstimate


def test_an_estimate_in_words() -> None:
    """40 runs of half a second and a million requests of 0.1 to 1 ms on two cores: 60 s to 510 s."""
    text = SweepEstimate(40, 1_000_000, 2).words(2)
    assert text == (
        "40 runs, 1,000,000 requests and an unknown number in 2 runs: about 60 s to 8 min on 2 cores, more in overload"
    )


def test_short_sweeps_have_one_figure() -> None:
    """Nine runs of thirty requests: two seconds either way."""
    assert SweepEstimate(9, 270, 0).words(2).startswith("9 runs, 270 requests: about 2 s on 2 cores")
