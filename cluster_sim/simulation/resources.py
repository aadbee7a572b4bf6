"""Disk and memory: what a run will need, held against what is there, and memory that runs out while it goes on."""

import logging
import math
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from cluster_sim.config.schema.study import Study
from cluster_sim.simulation.simulation import Simulation
from cluster_sim.units import NS_PER_S

LOGGER: Final = logging.getLogger(__name__)
REQUEST_BYTES: Final = 110
"""Of a row of requests.parquet, compressed."""
TICK_BYTES: Final = 90
"""Of a replica's row of series.parquet, compressed."""
REPLICA_BYTES: Final = 60_000
"""Memory of an idle replica, with its links and records."""
BASE_BYTES: Final = 250 << 20
"""Memory of the program itself."""
_LEAST_RATIO: Final = 0.04
_LEAST_BYTES: Final = 200 << 20
"""Memory below either of which a process may be killed at any time."""
LOOKS_S: Final = 2.0
"""Wall seconds between two looks at the memory."""
_MEMINFO: Final = Path("/proc/meminfo")
_CGROUP: Final = Path("/sys/fs/cgroup")


class Needs(NamedTuple):
    """An estimate for one run."""

    disk_bytes: int
    memory_bytes: int


class Memory(NamedTuple):
    """Memory of the machine or, where it is less, of the container."""

    total_bytes: int
    free_bytes: int


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
    return Needs(round(disk), BASE_BYTES + REPLICA_BYTES * simulation.replicas)


def shortages(needs: Needs, directory: Path, memory: Memory) -> list[str]:
    """Return what will not suffice, with what can be done about it."""
    found = []
    place = next((parent for parent in (directory, *directory.absolute().parents) if parent.exists()), Path())
    free = shutil.disk_usage(place).free
    if needs.disk_bytes > free:
        found.append(
            f"the run will write about {_size(needs.disk_bytes)}, and {place} has {_size(free)} free: a longer "
            "run.series_interval_s, fewer requests or another --out need less"
        )
    if needs.memory_bytes > memory.free_bytes:
        found.append(
            f"the run will take about {_size(needs.memory_bytes)} of memory, and {_size(memory.free_bytes)} are free: "
            "fewer replicas, or a Ray cluster of more nodes, need less on each"
        )
    return found


def memory_now() -> Memory:
    """Return the memory that this process may still take, by /proc and the limits of its container."""
    if not _MEMINFO.exists():  # Another kind of system: nothing is known.
        return Memory(sys.maxsize, sys.maxsize)
    fields = dict(line.split(":") for line in _MEMINFO.read_text(encoding="ascii").splitlines())
    total, free = (int(fields[name].split()[0]) << 10 for name in ("MemTotal", "MemAvailable"))
    try:
        most = int((_CGROUP / "memory.max").read_text(encoding="ascii"))
        used = int((_CGROUP / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):  # No limit.
        return Memory(total, free)
    return Memory(min(total, most), min(free, max(most - used, 0)))


class MemoryWatch:
    """Warns once when memory is nearly used up, before the system ends a process for it."""

    def __init__(self, now: Callable[[], Memory] = memory_now, clock: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._clock = clock
        self._due_s = clock()
        self._has_warned = False

    def look(self, simulated_s: float) -> None:
        """Look at the memory, if it is time to."""
        if self._has_warned or self._clock() < self._due_s:
            return
        self._due_s = self._clock() + LOOKS_S
        total, free = self._now()
        if free < max(_LEAST_BYTES, _LEAST_RATIO * total):
            self._has_warned = True
            LOGGER.warning(
                "memory is nearly used up: %s of %s are free, at %.2f s simulated; the system may end the run: "
                "end other programs, or run fewer replicas here",
                _size(free),
                _size(total),
                simulated_s,
            )


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
