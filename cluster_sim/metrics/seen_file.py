"""Note of what the last page told that a scraper has read, for the process that goes on with an unfinished run."""

from pathlib import Path
from typing import Final, NamedTuple
from zipfile import BadZipFile

import numpy as np

from cluster_sim.metrics.live import LiveSnapshot, TrafficLive
from cluster_sim.metrics.live_progress import Counts, counts_of

SEEN_FILE: Final = "scraped.npz"
"""Simulated time in s of the last page that a scraper has read, the protocol's work and all counts, in the directory of
a run that goes on."""


class Seen(NamedTuple):
    """What a scraper has been told last."""

    simulated_s: float
    traffic: TrafficLive
    counts: Counts


def write_seen(path: Path, snapshot: LiveSnapshot) -> None:
    """Write what a page of ``snapshot`` has told, whole or not at all; raises OSError if it cannot be written."""
    new = path.with_name(f"{path.name}.new")
    with new.open("wb") as file:
        counts = (np.asarray(one, np.float64) for one in counts_of(snapshot))
        np.savez(file, np.float64(snapshot.simulated_s), np.array(snapshot.traffic, np.int64), *counts)
    new.replace(path)


def read_seen(path: Path) -> Seen | None:
    """Return what was written; None if there is nothing, or it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as seen:
            simulated_s, traffic, *counts = (seen[f"arr_{number}"] for number in range(len(seen.files)))
            return Seen(float(simulated_s), TrafficLive(*traffic.tolist()), counts)
    except (OSError, ValueError, KeyError, TypeError, BadZipFile):
        return None
