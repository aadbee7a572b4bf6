"""Values of vLLM's flags as numbers and words."""

import math
import re
from collections.abc import Mapping
from typing import Final

from cluster_sim.deployment.server import Argument
from cluster_sim.errors import InputError

_WHOLE: Final = re.compile(r"(?P<figure>[-+]?\d+(?:\.\d+)?)(?P<unit>[kKmMgG]?)$")
_UNITS: Final[Mapping[str, int]] = {
    "": 1,
    "k": 1000,
    "m": 1000**2,
    "g": 1000**3,
    "K": 1024,
    "M": 1024**2,
    "G": 1024**3,
}
"""Suffixes as vLLM reads them: small letters are decimal, large ones binary."""


def whole_number(argument: Argument, least: int = 1) -> int:
    """Return a count, also in the forms ``16k`` and ``16K``; InputError names the flag and its place."""
    found = _WHOLE.match((argument.value or "").strip())
    value = float(found["figure"]) * _UNITS[found["unit"]] if found else None
    if value is None or not value.is_integer() or value < least:
        raise wrong(argument, f"a whole number of at least {least}")
    return int(value)


def amount(argument: Argument) -> float:
    """Return a finite number of at least 0."""
    try:
        value = float(argument.value or "")
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise wrong(argument, "a number of at least 0")
    return value


def ratio(argument: Argument) -> float:
    """Return a share above 0 and of at most 1."""
    try:
        value = float(argument.value or "")
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise wrong(argument, "a number above 0 and at most 1")
    return value


def is_on(argument: Argument) -> bool:
    """Return whether a switch is on."""
    return argument.value == "true"


def wrong(argument: Argument, right: str) -> InputError:
    """Return the error about a value that is not ``right``."""
    return InputError(f"{argument.place}: {argument.written}: must be {right}; got {argument.value!r}")
