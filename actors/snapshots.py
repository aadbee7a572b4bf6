"""Snapshots for live metrics, from the router's actor to the process that serves them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import ray

from cluster_sim.metrics.live_feed import LiveSource, Published

FETCH_S: Final = 2.0
"""How long a scrape waits for the router's actor."""


@contextmanager
def live_snapshots(live: LiveSource | None, router: Any) -> Iterator[None]:
    """Serve the snapshots of a router while the context lasts; the last one stays."""
    if live is None:
        yield
        return

    def fetch(known: int) -> Published | None:
        try:
            published: Published | None = ray.get(router.live.remote(known), timeout=FETCH_S)
        except ray.exceptions.RayError:
            return None  # It is busy, or dead, which shows elsewhere.
        return published

    live.connect(fetch)
    try:
        yield
    finally:
        live.disconnect()
