"""Figures of documents, and values that none of them can have."""

import math
from collections.abc import Collection, Iterator
from typing import Any, Final

LARGE: Final = 1e13


def beyond(value: float) -> list[Any]:
    """Return values that no figure of a real thing can have in place of ``value``."""
    wrong: list[Any] = [-abs(value) - 1, math.nan, math.inf, -math.inf, str(value), True, [value], {"x": value}]
    return [*wrong, abs(value) * LARGE + LARGE * 1000]


def numbers(value: Any, leaves_out: Collection[str] = ()) -> Iterator[tuple[Any, Any]]:
    """Yield (holder, key) of every number of a document, but those below keys that are left out."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        if key in leaves_out:
            continue
        if isinstance(value[key], int | float) and not isinstance(value[key], bool):
            yield value, key
        else:
            yield from numbers(value[key], leaves_out)
