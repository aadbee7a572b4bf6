"""Doubt about the unit of a trace's times: seconds read as milliseconds, or milliseconds as seconds."""

from typing import Final

from cluster_sim.errors import InputError

_FEWEST_ROWS: Final = 5
"""Fewer rows say nothing of a rate."""
_TOO_FAST_PER_S: Final = 250.0
_FRACTIONS_TOO_FAST_PER_S: Final = 20.0
"""Milliseconds are recorded as whole numbers, so fractions speak for seconds."""
_TOO_SLOW_PER_S: Final = 1 / 600


def check_unit(place: str, unit_s: float, count: int, span_s: float, *, has_fractions: bool) -> None:
    """Ask for the unit by an InputError where the rate of a trace only makes sense in another unit than the format's.

    A trace in milliseconds with hundreds of requests a second is more likely one in seconds, the more so where times
    have fractions; one in whole seconds with a request every ten minutes is more likely in milliseconds.
    """
    if count < _FEWEST_ROWS or span_s <= 0:
        return
    rate = (count - 1) / span_s
    is_fast = unit_s < 1 and rate > (_FRACTIONS_TOO_FAST_PER_S if has_fractions else _TOO_FAST_PER_S)
    is_slow = unit_s >= 1 and rate < _TOO_SLOW_PER_S and not has_fractions
    if not (is_fast or is_slow):
        return
    other_s = 1.0 if is_fast else 0.001
    names = {1.0: "seconds", 0.001: "milliseconds"}
    raise InputError(
        f"{place}: the unit of time is in doubt: {count:,} requests come at {rate:,.4g} per second if times are in "
        f"{names.get(unit_s, f'units of {unit_s:g} s')}, as the format says, and at {rate * unit_s / other_s:,.4g} "
        f"per second if they are in {names[other_s]}; say which with timestamp_unit_s: {other_s:g} or {unit_s:g}"
    )
