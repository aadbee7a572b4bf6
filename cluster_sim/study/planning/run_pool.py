"""Pool of processes that make single runs; each is independent, so any may be made anywhere and in any order."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import get_context
from typing import Any, Final, NamedTuple, Self

from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.study.limited_figures import load_limits
from cluster_sim.study.replications import Replication, ReplicationTask, replication_of, run_replication

MOST_TRIES: Final = 3
"""Attempts at a run whose process dies, for want of memory say."""


class RunKey(NamedTuple):
    """What names a run: its fleet, and the number of the replication."""

    fleet: str
    number: int


class RunPool:
    """Makes runs in processes of its own; a context manager that ends them."""

    def __init__(self, processes: int | None = None) -> None:
        self.processes = processes or max(1, os.cpu_count() or 1)
        self._pool: ProcessPoolExecutor | None = None
        self._running: dict[Future[Replication], tuple[RunKey, Study, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    @property
    def has_room(self) -> bool:
        """Whether a process is free."""
        return len(self._running) < self.processes

    @property
    def keys(self) -> set[RunKey]:
        """The runs that are being made."""
        return {key for key, _, _ in self._running.values()}

    def start(self, key: RunKey, study: Study, tries: int = 1) -> None:
        """Begin a run."""
        if self._pool is None:
            self._pool = ProcessPoolExecutor(self.processes, get_context("spawn"), initializer=_ignore_interrupts)
        try:
            future = self._pool.submit(make_run, study, key.number)
        except BrokenProcessPool:
            self._pool = None
            return self.start(key, study, tries)
        self._running[future] = (key, study, tries)
        return None

    def finished(self, timeout_s: float | None = None) -> Iterator[tuple[RunKey, Replication | Exception]]:
        """Wait for a run, at most so long; yield those that ended, each with its result or its error."""
        ended, _ = wait(self._running, timeout_s, FIRST_COMPLETED)
        for future in ended:
            key, study, tries = self._running.pop(future)
            error = future.exception()
            if error is None:
                yield key, future.result()
            elif isinstance(error, BrokenProcessPool) and tries < MOST_TRIES:
                self._pool = None
                self.start(key, study, tries + 1)
            elif isinstance(error, BrokenProcessPool):
                yield key, UnfinishedError("the process that ran it died, perhaps for want of memory")
            elif isinstance(error, Exception):
                yield key, error
            else:
                raise error

    def _stop(self) -> None:
        """End the processes at once: what is not finished is lost, and only that."""
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


def make_run(study: Study, number: int) -> Replication:
    """Make one replication of a study in this process; keep of its samples what the limits are on."""
    quick = study.run.model_copy(update={"executor": "inline", "series_interval_s": 0.0})
    study = study.model_copy(update={"run": quick})
    run = run_replication(ReplicationTask(replication_of(study, number), number, has_summary=True))
    kept = {limit.sample for limit in load_limits(study.slo)}
    return replace(run, samples={name: values for name, values in run.samples.items() if name in kept})


def reason_of(error: Exception) -> str:
    """Return why a run failed, as a row says it."""
    kind = "" if isinstance(error, InputError | UnfinishedError) else f"{type(error).__name__}: "
    return f"{kind}{error}"


def _ignore_interrupts() -> None:
    """Let the parent alone react to Ctrl-C, and end quietly when it says so."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
