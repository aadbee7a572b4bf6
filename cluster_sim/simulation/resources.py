"""Disk and memory that a run will need, held against what is there."""

import math
import shutil
from pathlib import Path
from typing import Final, NamedTuple

from cluster_sim.config.schema.study import Study
from cluster_sim.simulation.memory import Memory, size_text
from cluster_sim.simulation.simulation import Simulation
from cluster_sim.units import NS_PER_S

REQUEST_BYTES: Final = 110
"""Of a row of requests.parquet, compressed."""
TICK_BYTES: Final = 90
"""Of a replica's row of series.parquet, compressed."""
REPLICA_BYTES: Final = 60_000
"""Memory of an idle replica, with its links and records."""
BASE_BYTES: Final = 250 << 20
"""Memory of the program itself."""


class Needs(NamedTuple):
    """An estimate for one run."""

    disk_bytes: int
    memory_bytes: int


def expected_duration_s(study: Study, requests: int | None) -> float | None:
    """Return how long a run will be in simulated time: to its end, or while requests arrive; None if nobody knows."""
    workload = study.workload
    rate = getattr(getattr(workload, "arrivals", None), "request_rate", None) or getattr(workload, "request_rate", None)
    by_rate = requests / rate if requests is not None and rate and math.isfinite(rate) else None
    known = [one for one in (study.run.end_s, getattr(workload, "duration_s", None), by_rate) if one is not None]
    return min(known, default=None)


def needs_of(simulation: Simulation, duration_s: float | None) -> Needs:
    """Return what a run will need; what is not known counts as nothing."""
    ticks = 0.0
    if simulation.series_interval_ns and duration_s is not None:
        ticks = simulation.replicas * duration_s * NS_PER_S / simulation.series_interval_ns
    disk = REQUEST_BYTES * (simulation.total_requests or 0) + TICK_BYTES * ticks
    return Needs(round(disk), memory_of(simulation.replicas))


def memory_of(replicas: int) -> int:
    """Return the memory of a run with so many replicas."""
    return BASE_BYTES + REPLICA_BYTES * replicas


def shortages(needs: Needs, directory: Path, memory: Memory) -> list[str]:
    """Return what will not suffice, with what can be done about it."""
    found = []
    place = next((parent for parent in (directory, *directory.absolute().parents) if parent.exists()), Path())
    free = shutil.disk_usage(place).free
    if needs.disk_bytes > free:
        found.append(
            f"the run will write about {size_text(needs.disk_bytes)}, and {place} has {size_text(free)} free: a longer "
            "run.series_interval_s, fewer requests or another --out need less"
        )
    if needs.memory_bytes > memory.free_bytes:
        found.append(
            f"the run will take about {size_text(needs.memory_bytes)} of memory, and "
            f"{size_text(memory.free_bytes)} are free: fewer replicas, or a cluster of more nodes, need less on each"
        )
    return found
