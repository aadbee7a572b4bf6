"""The process that serves live metrics, as the run's process sees it.

A run's process keeps the interpreter's lock nearly all the time, so that every thread beside it costs both a wait and a
switch.  Pages are therefore made and sent by a process of its own; the run's process hands it snapshots, one for each
that is served, and is not touched by whoever else reaches the port.  What comes from that process is read as numbers,
never unpickled, since strangers talk to it.
"""

import logging
import subprocess
import sys
import threading
import time
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, Literal, Protocol, Self

import cluster_sim
from cluster_sim.metrics.exposition.exposition import Exposition
from cluster_sim.metrics.listening_socket import listening_socket
from cluster_sim.metrics.live_feed import Published
from cluster_sim.metrics.metrics_options import LOOPBACK

LOGGER: Final = logging.getLogger(__name__)
Order = tuple[Literal["finish", "await"], float]
"""What the run's process asks the other one for; the number is the longest wait in s."""
NUMBER_BYTES: Final = 8
"""A snapshot's number, by which the other process says what it has: little-endian, signed."""
DONE: Final = b"1"
"""Its answer to an order that it has obeyed."""

_PROGRAM: Final = """
import sys
folder, descriptors, *others = sys.argv[1:]
sys.path.insert(0, folder)
import cluster_sim
sys.path[:1] = []
sys.path.extend(others)
from cluster_sim.metrics.separate_server_main import main
main(descriptors)
"""
"""The package is that of the run, whatever is installed; for the rest its folders come last, so that no file of the
working directory stands in for a module of the standard library."""
_ANSWER_S: Final = 10.0
"""Longest wait for an answer that comes at once from a process that is well; it includes the start."""
_END_S: Final = 3.0
"""Longest wait for the process to end by itself, which sends the pages that it has begun."""
_STARTS: Final = 3
"""Processes of one run, if they die."""


class ChargedSource(Protocol):
    """Where the snapshots come from."""

    def latest(self, known: int = -1) -> Published | None:
        """Return the latest snapshot; None before the first, and if it is the one with the number ``known``."""

    @property
    def wait_s(self) -> float:
        """Seconds until a newer snapshot can be had."""

    def charge(self, cost_s: float) -> None:
        """Note that handing on a snapshot has taken so much of the run's time."""


class SeparateServer:
    """Serves the snapshots of ``source`` at ``/metrics``; a context manager, or closed by ``close``.

    ``seen`` is the file that notes what has been read.  ``port`` 0 takes any free port, which the attribute ``port``
    then has.  Raises ``InputError`` if the port is taken, or ``host`` is no address of this machine.
    """

    def __init__(
        self, port: int, exposition: Exposition, source: ChargedSource, seen: Path, host: str = LOOPBACK
    ) -> None:
        self._content = exposition, seen
        self._source = source
        self._listening = listening_socket(port, host)
        self.port: int = self._listening.getsockname()[1]
        self._is_closing = False
        self._starts = 0
        self._lock = threading.Lock()
        """Held while a process is started, and while one is ended for good."""
        self._thread = threading.Thread(target=self._serve, args=(self._start(),), name="metrics", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def finish(self) -> None:
        """Let nothing be noted any more of what scrapers read: the run is finished."""
        self._order(("finish", 0.0))

    def await_scrape(self, most_s: float) -> bool:
        """Wait for a scrape of the latest snapshot as ``MetricsServer.await_scrape`` does; return whether one came."""
        return self._order(("await", most_s))

    def close(self) -> None:
        """End the process, which frees the port."""
        with self._lock:
            self._is_closing = True
            self._process.terminate()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._thread.join()
        self._orders.close()
        self._listening.close()

    def _start(self) -> "Connection[Any, Any]":
        """Start the process; return the connection at which it asks for snapshots."""
        self._starts += 1
        asked, asks = Pipe()
        self._orders, orders = Pipe()
        folder = str(Path(cluster_sim.__file__).resolve().parent.parent)
        descriptors = self._listening.fileno(), asks.fileno(), orders.fileno()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, folder, ",".join(map(str, descriptors)), *sys.path],
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the run, which ends this process when it is over.
        )
        asks.close()
        orders.close()
        return asked

    def _serve(self, asked: "Connection[Any, Any]") -> None:
        """Hand snapshots to the process, and start another one where it dies."""
        while True:
            with asked:
                self._answer(asked)
            code = self._process.wait()
            with self._lock:
                if self._is_closing:
                    return
                if self._starts == _STARTS:
                    self._listening.close()  # Whoever scrapes is refused, and does not wait.
                    LOGGER.warning(
                        "live metrics are no longer served: their process ended %d times (%d)", _STARTS, code
                    )
                    return
                LOGGER.warning("the process that serves live metrics ended (%d) and is started again", code)
                asked = self._start()

    def _answer(self, asked: "Connection[Any, Any]") -> None:
        """Tell the process what it serves, and answer it until it is gone."""
        with suppress(EOFError, OSError):
            asked.send(self._content)
            while True:
                known = int.from_bytes(asked.recv_bytes(NUMBER_BYTES), "little", signed=True)
                published = self._source.latest(known)
                started_s = time.perf_counter()
                asked.send((published, self._source.wait_s))
                if published is not None:
                    self._source.charge(time.perf_counter() - started_s)

    def _order(self, order: Order) -> bool:
        """Return whether the process has done what it was told."""
        try:
            self._orders.send(order)
            return self._orders.poll(order[1] + _ANSWER_S) and self._orders.recv_bytes(1) == DONE
        except (EOFError, OSError):
            return False
