"""Durations as Go writes them: ``50ms``, ``1m30s``, ``1.5h``; plain numbers are nanoseconds."""

import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

from cluster_sim.options import LONGEST_RUN_S
from cluster_sim.units import NS_PER_S

_UNITS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": NS_PER_S,
    "m": 60 * NS_PER_S,
    "h": 3600 * NS_PER_S,
}
_TERM: Final = re.compile(r"(?P<number>\d+(?:\.\d*)?|\.\d+)(?P<unit>ns|us|µs|μs|ms|s|m|h)")


def duration_ns(value: Any) -> int:
    """Return a duration in ns; raise ValueError if it is none."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return round(value)
    text = str(value).strip().removeprefix("+")
    if text == "0":
        return 0
    total, end = 0.0, 0
    for term in _TERM.finditer(text):
        if term.start() != end:
            break
        total += float(term["number"]) * _UNITS[term["unit"]]
        end = term.end()
    if not text or end != len(text):
        raise ValueError(f"must be a duration such as 50ms or 1m30s; got {value!r}")
    return round(total)


Duration = Annotated[int, BeforeValidator(duration_ns), Field(ge=0, le=round(LONGEST_RUN_S * NS_PER_S))]
"""A duration in ns, read from Go's notation."""
