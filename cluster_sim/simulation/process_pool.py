"""Pool of tasks on processes of this machine: there at once, and gone at once."""

import os
import signal
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, Final, Self

from cluster_sim.errors import UnfinishedError
from cluster_sim.interruption import INTERRUPTION

MOST_TRIES: Final = 3
"""Attempts at a task whose process dies, for want of memory say."""


class ProcessPool:
    """A ``TaskPool`` whose processes are started with the first task; a context manager that ends them.

    Functions and tasks travel by pickle, so a program that is run as a file must use it below
    ``if __name__ == "__main__":``.
    """

    def __init__(self, processes: int | None = None) -> None:
        """``processes`` is their number; None takes one for each CPU that this process may use."""
        self._processes = processes or len(os.sched_getaffinity(0))
        self._pool: ProcessPoolExecutor | None = None
        self._running: dict[Future[Any], tuple[int, Callable[[Any], Any], Any, int]] = {}
        self._submitted = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the processes at once: what they have not finished is lost, and only that."""
        if self._pool is None:
            return
        processes: dict[int, Any] = dict(getattr(self._pool, "_processes", None) or {})
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            process.join()
        self._pool = None
        self._running.clear()

    @property
    def slots(self) -> int:
        """The number of processes."""
        return self._processes

    def submit(self, function: Callable[[Any], Any], task: Any) -> int:
        """Hand in a call of ``function`` with ``task``; return its number."""
        self._submitted += 1
        self._start(self._submitted, function, task, 1)
        return self._submitted

    def next_ended(self) -> tuple[int, Any]:
        """Wait for a task; return its number and its result, or the exception that it raised.

        Raises KeyboardInterrupt if the command was interrupted, even where a library has caught that.
        """
        while True:
            INTERRUPTION.check()
            ended, _ = wait(self._running, return_when=FIRST_COMPLETED)
            future = next(iter(ended))
            number, function, task, tries = self._running.pop(future)
            error = future.exception()
            if not isinstance(error, BrokenProcessPool):
                return number, future.result() if error is None else error
            if tries == MOST_TRIES:
                return number, UnfinishedError("the process that ran it died, perhaps for want of memory")
            self._pool = None
            self._start(number, function, task, tries + 1)

    def _start(self, number: int, function: Callable[[Any], Any], task: Any, tries: int) -> None:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(self._processes, get_context("spawn"), initializer=_ignore_interrupts)
        try:
            future = self._pool.submit(function, task)
        except BrokenProcessPool:
            self._pool = None
            self._start(number, function, task, tries)
            return
        self._running[future] = (number, function, task, tries)


def _ignore_interrupts() -> None:
    """Let the parent alone react to Ctrl-C, and end quietly when it says so."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
