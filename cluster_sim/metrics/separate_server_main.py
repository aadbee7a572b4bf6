"""Program of the process that serves live metrics: pages of the snapshots that the run's process hands over.

It is started with three descriptors: of the listening socket, of the connection for snapshots, and of that for orders.
"""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from cluster_sim.metrics.live_feed import FRESH_S, Published
from cluster_sim.metrics.seen_file import write_seen
from cluster_sim.metrics.separate_server import DONE, NUMBER_BYTES, Order
from cluster_sim.metrics.server import MetricsServer

_NICENESS: Final = 5
"""The simulation goes first where there are fewer CPUs than processes."""


class PipedSnapshots:
    """The snapshots of the run's process, which is asked no more often than it has new ones."""

    def __init__(self, connection: "Connection[Any, Any]", clock: Callable[[], float] = time.monotonic) -> None:
        self._connection = connection
        self._clock = clock
        self._lock = threading.Lock()
        self._held: Published | None = None
        self._next_s = 0.0

    def latest(self, known: int = -1) -> Published | None:
        """Return the latest snapshot; None before the first, and if it is the one with the number ``known``."""
        with self._lock:
            if self._clock() >= self._next_s:
                self._ask()
            held = self._held
        return None if held is None or held.serial == known else held

    def forget_wait(self) -> None:
        """Ask again at the next opportunity."""
        with self._lock:
            self._next_s = 0.0

    def _ask(self) -> None:
        try:
            known = -1 if self._held is None else self._held.serial
            self._connection.send_bytes(known.to_bytes(NUMBER_BYTES, "little", signed=True))
            published, wait_s = self._connection.recv()
        except (EOFError, OSError):
            return  # The run's process is gone, and this one ends.
        if published is not None:
            self._held = published
        self._next_s = self._clock() + max(wait_s, FRESH_S)


class SeenNote:
    """Notes what has been read, until the run is finished."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._is_finished = False

    def note(self, published: Published) -> None:
        """Note that a page of a snapshot has been sent."""
        with self._lock, suppress(OSError):
            if not self._is_finished:
                write_seen(self._path, published.snapshot)

    def finish(self) -> None:
        """Write nothing any more."""
        with self._lock:
            self._is_finished = True


def serve(listening: socket.socket, asks: "Connection[Any, Any]", orders: "Connection[Any, Any]") -> None:
    """Serve pages, and obey orders until the run's process closes its end."""
    with suppress(EOFError, OSError):
        exposition, seen = asks.recv()
        source, note = PipedSnapshots(asks), SeenNote(seen)
        with MetricsServer(listening, exposition, source, on_scrape=note.note) as server:
            while True:
                order: Order = orders.recv()
                source.forget_wait()
                if order[0] == "finish":
                    note.finish()
                    orders.send_bytes(DONE)
                else:
                    orders.send_bytes(DONE if server.await_scrape(order[1]) else b"0")


def main(descriptors: str) -> None:
    """Serve at inherited descriptors, which are separated by commas."""
    listening, asks, orders = map(int, descriptors.split(","))
    os.nice(_NICENESS)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # Pages that are being sent are sent whole.
    serve(socket.socket(fileno=listening), Connection(asks), Connection(orders))
