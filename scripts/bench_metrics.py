"""Measure what live metrics cost a run: with nobody, with scrapers, and with strangers at the port, in alternation.

``python scripts/bench_metrics.py`` runs two fleets, 64 replicas in detail and 4,096 by pool, each alone and watched in
turns, and prints CPU and wall seconds of the run's process with their ratios to the run alone: the medians of the
pairs, and the least and largest; and the CPU seconds of the process that serves the pages (Linux only).  ``--fleet``
and ``--watcher`` (both repeatable) select, ``--pairs`` repeats, ``--json`` prints everything as JSON.  On two cores
that do nothing else all of it takes about an hour; on a busy machine only the CPU seconds say
something.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import yaml
from bench_cases import LENGTHS, study, synthetic

ROOT: Final = Path(__file__).resolve().parent.parent
FLEETS: Final = {"detail-64": (64, 1400), "pooled-4096": (4096, 40)}
"""Replicas, and simulated seconds at 5 requests a second and replica: a compiled run takes 15 and 60 s of CPU time."""


class Cost(NamedTuple):
    """What one run took."""

    cpu_s: float
    """Of the run's process."""
    server_s: float
    """CPU time of the process that serves the pages."""
    wall_s: float
    pages: int
    """Pages that were read."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fleet", action="append", choices=FLEETS)
    parser.add_argument("--watcher", action="append", choices=WATCHERS)
    parser.add_argument("--pairs", type=int, default=5, help="runs alone and watched of each kind")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = []
    for fleet in options.fleet or FLEETS:
        for watcher in options.watcher or WATCHERS:
            pairs = [_pair(fleet, watcher, swapped=bool(number % 2)) for number in range(options.pairs)]
            results.append({"fleet": fleet, "watcher": watcher, "pairs": pairs, **_ratios(pairs)})
            if not options.json:
                print(_line(results[-1]), flush=True)
    if options.json:
        print(json.dumps(results, indent=1))


def _pair(fleet: str, watcher: str, *, swapped: bool) -> tuple[Cost, Cost]:
    """Return the costs of a run alone and of one that is watched, in the order that ``swapped`` says."""
    if swapped:
        watched = _run(fleet, WATCHERS[watcher])
        return _run(fleet, None), watched
    return _run(fleet, None), _run(fleet, WATCHERS[watcher])


def _ratios(pairs: list[tuple[Cost, Cost]]) -> dict[str, list[float]]:
    """Return (median, least, largest) of watched over alone, for CPU and wall time."""
    found = {}
    for name in ("cpu_s", "wall_s"):
        ratios = [getattr(watched, name) / getattr(alone, name) for alone, watched in pairs]
        found[name] = [statistics.median(ratios), min(ratios), max(ratios)]
    return found


def _line(result: dict[str, object]) -> str:
    pairs = result["pairs"]
    assert isinstance(pairs, list)
    alone = statistics.median(cost.cpu_s for cost, _ in pairs)
    words = [f"{result['fleet']:12} {result['watcher']:14} alone {alone:6.1f} s CPU"]
    for name, title in (("cpu_s", "CPU"), ("wall_s", "wall")):
        middle, least, largest = result[name]  # type: ignore[misc]
        words.append(f"{title} {100 * (middle - 1):+6.1f} % ({100 * (least - 1):+.1f} to {100 * (largest - 1):+.1f})")
    words.append(f"server {statistics.median(cost.server_s for _, cost in pairs):.1f} s CPU")
    return "  ".join([*words, f"{statistics.median(cost.pages for _, cost in pairs):.0f} pages"])


def _run(fleet: str, watch: "Watch | None") -> Cost:
    """Run a fleet in a process of its own."""
    replicas, seconds = FLEETS[fleet]
    load = synthetic(5 * replicas * seconds, 5.0 * replicas, LENGTHS)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.yaml"
        path.write_text(yaml.safe_dump({"name": "watched"} | study(load, "round_robin", replicas=replicas)))
        command = [
            sys.executable,
            "-m",
            "cluster_sim",
            "run",
            str(path),
            "--executor",
            "inline",
            "--out",
            f"{folder}/r",
        ]
        port = _free_port()
        if watch is not None:
            command += ["--metrics-port", str(port), "--linger-s", "0"]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        started_s = time.monotonic()
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        is_over, pages = threading.Event(), [0]
        watcher = threading.Thread(target=watch or _nobody, args=(port, is_over, pages))
        watcher.start()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        times_s = _cpu_times_s(process.pid)
        wall_s = time.monotonic() - started_s
        is_over.set()
        watcher.join()
    if process.wait():
        raise SystemExit(f"the run of {fleet} failed: {' '.join(command)}")
    return Cost(*times_s, wall_s, pages[0])


def _cpu_times_s(process: int) -> tuple[float, float]:
    """Return the CPU time of an ended process that nobody has waited for, and of its children (proc(5))."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    user, system, of_children, system_of_children = (int(field) for field in fields[11:15])
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    return (user + system) / ticks_per_s, (of_children + system_of_children) / ticks_per_s


Watch = Callable[[int, threading.Event, list[int]], None]
"""Watches the port until the run is over; counts the pages that it reads."""


def _nobody(_port: int, _is_over: threading.Event, _pages: list[int]) -> None:
    """Leave the port alone."""


def _scraper(interval_s: float) -> Watch:
    """Return what scrapes so often, as Prometheus does: with gzip, and in OpenMetrics."""
    headers = {"Accept": "application/openmetrics-text;version=1.0.0,*/*;q=0.1", "Accept-Encoding": "gzip"}

    def watch(port: int, is_over: threading.Event, pages: list[int]) -> None:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers=headers)
        next_s = time.monotonic()
        while not is_over.wait(max(0.0, next_s - time.monotonic())):
            next_s = max(next_s + interval_s, time.monotonic())
            with suppress(OSError), urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - it is ours
                response.read()
                pages[0] += 1

    return watch


def _strangers(count: int, opening: bytes) -> Watch:
    """Return what holds so many connections that send ``opening`` and never read, and opens those that are closed."""

    def watch(port: int, is_over: threading.Event, _pages: list[int]) -> None:
        held: list[socket.socket] = []
        while not is_over.wait(0.05):
            with suppress(OSError):
                while len(held) < count:
                    stranger = socket.create_connection(("127.0.0.1", port), timeout=1)
                    held.append(stranger)
                    stranger.sendall(opening)
            if held:
                held.pop(0).close()
        for stranger in held:
            stranger.close()

    return watch


WATCHERS: Final[dict[str, Watch]] = {
    "nobody": _nobody,
    "1-per-s": _scraper(1.0),
    "100-per-s": _scraper(0.01),
    "never-reading": _strangers(1, b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n"),
    "half-open-200": _strangers(200, b"GET /metr"),
}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
