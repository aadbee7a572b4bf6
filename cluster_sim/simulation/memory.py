"""Memory of this machine, and the warning before it runs out while a run goes on."""

import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

LOGGER: Final = logging.getLogger(__name__)
_LEAST_RATIO: Final = 0.04
_LEAST_BYTES: Final = 200 << 20
"""Memory below either of which a process may be killed at any time."""
LOOKS_S: Final = 2.0
"""Wall seconds between two looks at the memory."""
_MEMINFO: Final = Path("/proc/meminfo")
_CGROUP: Final = Path("/sys/fs/cgroup")


class Memory(NamedTuple):
    """Memory of the machine or, where it is less, of the container."""

    total_bytes: int
    free_bytes: int


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


def pressure(memory: Memory, simulated_s: float, where: str = "") -> str:
    """Return what to say and do where memory is nearly used up, or nothing; ``where`` names a machine but this."""
    total, free = memory
    if free >= max(_LEAST_BYTES, _LEAST_RATIO * total):
        return ""
    return (
        f"memory{where} is nearly used up: {size_text(free)} of {size_text(total)} are free, at {simulated_s:.2f} s "
        "simulated; the system may end the run: end other programs, or run fewer replicas there"
    )


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
        text = pressure(self._now(), simulated_s)
        if text:
            self._has_warned = True
            LOGGER.warning(text)


def size_text(count: float) -> str:
    """Return a number of bytes in MB or GB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
