"""Times on the command line: numbers with their units."""

import re
from typing import Final

from cluster_sim.errors import InputError

_DURATION: Final = re.compile(r"(?P<value>\d+(?:\.\d*)?|\.\d+)(?P<unit>us|ms|s|min|m|h)")
_UNITS_S: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}


def seconds_of(text: str, source: str, *, needs_unit: bool = True) -> float:
    """Return a time with its unit in seconds; a bare number counts as seconds unless it ``needs_unit``."""
    stripped = text.strip()
    is_bare = stripped.replace(".", "", 1).isdigit()
    found = _DURATION.fullmatch(f"{stripped}s" if is_bare and not needs_unit else stripped)
    if found is None or float(found["value"]) == 0:
        units = "(us, ms, s, m or min, h)"
        taken = f"{units}, for example 2s or 60ms" if needs_unit else f"{units} or of seconds, for example 300s or 5m"
        raise InputError(f"{source}: the time must be a positive number with its unit {taken}")
    return float(found["value"]) * _UNITS_S[found["unit"]]
