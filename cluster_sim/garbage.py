"""Python's search for reference cycles, which costs time and finds next to nothing here."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

RARE: Final = 700_000
"""New objects between two searches, a thousand times as many as Python's default: neither imports nor the model make
cycles, a start makes 300,000 objects that stay, and a burst or a fleet a multiple of 70,000."""


@contextmanager
def rare_collections() -> Iterator[None]:
    """Collect reference cycles a thousand times more rarely."""
    thresholds = gc.get_threshold()
    gc.set_threshold(RARE, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
