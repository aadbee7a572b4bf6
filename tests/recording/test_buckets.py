"""Tests of histogram boundaries."""

from cluster_sim.recording import buckets


def test_seconds_become_exact_nanoseconds() -> None:
    """Boundaries in seconds have no rounding error in ns."""
    assert buckets.nanoseconds((0.001, 0.3, 7680.0)).tolist() == [1_000_000, 300_000_000, 7_680_000_000_000]


def test_token_bounds_are_one_two_five() -> None:
    """Boundaries of token counts are 1, 2, 5 times powers of ten up to the model's context."""
    assert buckets.one_two_five(8_192) == (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
    assert buckets.one_two_five(10)[-1] == 10
