"""Times on the command line."""

import pytest

from cluster_sim.cli.durations import seconds_of
from cluster_sim.errors import InputError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("600s", 600.0), ("10m", 600.0), ("10min", 600.0), ("1.5h", 5400.0), ("60ms", 0.06), ("5us", 5e-6), (" 2s ", 2.0)],
)
def test_every_unit(text: str, seconds: float) -> None:
    """A minute is m or min."""
    assert seconds_of(text, "--at") == pytest.approx(seconds)


def test_bare_numbers_are_seconds_where_no_unit_is_needed() -> None:
    """Else they are refused, as is a time of 0, and the message says what is taken."""
    assert seconds_of("10", "--at 10", needs_unit=False) == 10.0
    for text, needs_unit in (("10", True), ("0s", True), ("0", False), ("10mins", False), ("-1s", True)):
        with pytest.raises(InputError, match=r"positive number with its unit \(us, ms, s, m or min, h\)"):
            seconds_of(text, f"--at {text}", needs_unit=needs_unit)
