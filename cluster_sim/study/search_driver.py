"""Driver of several searches at once: makes the runs that they ask for on a pool of tasks, each run once.

A search is a generator that yields lists of runs and is sent their replications in the same order; it returns its
answer.  Runs of earlier searches go first, so that answers come one after the other and not all at the end.
"""

import heapq
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

from cluster_sim.simulation.task_pool import TaskPool
from cluster_sim.study.replication_store import ReplicationStore
from cluster_sim.study.replications import Replication, ReplicationTask, run_replication

Run = tuple[Any, ...]
"""A run as a search names it: plain values that tell it from all others of the search."""


@dataclass(slots=True)
class Search:
    """One search, and what its runs are."""

    number: int
    steps: Generator[list[Any], list[Replication], Any]
    task_of: Callable[[Any], ReplicationTask]
    store: ReplicationStore = field(default_factory=ReplicationStore)
    wanted: list[Run] = field(default_factory=list)
    """Runs of the present step."""
    missing: set[Run] = field(default_factory=set)
    """Those of them that are being made."""


def run_searches(
    searches: list[Search], pool: TaskPool, on_start: Callable[[int], None] = lambda _: None
) -> Iterator[tuple[int, Any]]:
    """Carry out all searches; yield (number, answer or the exception that ended it) in the order of their ends.

    ``on_start`` is called with the number of each search as it begins.
    """
    return _Driver(pool, on_start).carry_out(sorted(searches, key=lambda search: search.number))


class _Driver:
    """The runs that wait, the runs that are made, and the searches that they belong to."""

    def __init__(self, pool: TaskPool, on_start: Callable[[int], None]) -> None:
        self._pool = pool
        self._on_start = on_start
        self._queue: list[tuple[int, int, Search, Run]] = []
        self._queued = 0
        self._running: dict[int, tuple[Search, Run]] = {}
        self._failed: set[int] = set()

    def carry_out(self, searches: list[Search]) -> Iterator[tuple[int, Any]]:
        """Begin searches while there is room for their runs; yield the answers."""
        waiting = iter(searches)
        while True:
            slots = self._pool.slots
            while len(self._queue) + len(self._running) < slots and (search := next(waiting, None)) is not None:
                self._on_start(search.number)
                yield from self._advance(search, None)
            self._submit(slots)
            if not self._running:
                return
            number, result = self._pool.next_ended()
            search, run = self._running.pop(number)
            if search.number not in self._failed:
                yield from self._take(search, run, result)

    def _submit(self, slots: int) -> None:
        while self._queue and len(self._running) < slots:
            _, _, search, run = heapq.heappop(self._queue)
            self._running[self._pool.submit(run_replication, search.task_of(run))] = search, run

    def _take(self, search: Search, run: Run, result: Replication | Exception) -> Iterator[tuple[int, Any]]:
        """Take the result of a run; yield the answer if it was the last one needed."""
        if isinstance(result, Exception):
            self._failed.add(search.number)
            self._queue = [entry for entry in self._queue if entry[2] is not search]
            heapq.heapify(self._queue)
            search.steps.close()
            yield search.number, result
            return
        search.store.put(run, result)
        search.missing.discard(run)
        if not search.missing:
            yield from self._advance(search, _results(search))

    def _advance(self, search: Search, results: list[Replication] | None) -> Iterator[tuple[int, Any]]:
        """Advance a search as far as known runs carry it; queue those that it lacks, or yield its answer."""
        try:
            while True:
                search.wanted = next(search.steps) if results is None else search.steps.send(results)
                search.missing = {run for run in search.wanted if search.store.get(run) is None}
                if search.missing:
                    break
                results = _results(search)
        except StopIteration as end:
            yield search.number, end.value
            return
        except Exception as error:  # noqa: BLE001 - one search that fails does not end the others
            yield search.number, error
            return
        for run in search.wanted:
            if run in search.missing:
                self._queued += 1
                heapq.heappush(self._queue, (search.number, self._queued, search, run))


def _results(search: Search) -> list[Replication]:
    found = [search.store.get(run) for run in search.wanted]
    return [replication for replication in found if replication is not None]
