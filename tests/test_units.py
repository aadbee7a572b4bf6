"""Times of files in nanoseconds."""

from typing import Any

import pytest

from cluster_sim.units import read_ns


def test_numbers_are_read() -> None:
    """Half a millisecond is 500,000 ns, whole seconds may be integers, and parts of a nanosecond are rounded."""
    assert [read_ns(seconds) for seconds in (0.0005, 2, 1.6e-9, 0)] == [500_000, 2_000_000_000, 2, 0]


@pytest.mark.parametrize("seconds", ["0.0005", [1.0], None, True, {}])
def test_other_kinds_are_refused(seconds: Any) -> None:
    """A text or a list is refused, not repeated a thousand million times."""
    with pytest.raises(TypeError, match="a time is a number of seconds"):
        read_ns(seconds)


@pytest.mark.parametrize("seconds", [float("inf"), float("nan")])
def test_times_are_finite(seconds: float) -> None:
    """What is not finite is no time."""
    with pytest.raises(ValueError, match="a time is finite"):
        read_ns(seconds)
