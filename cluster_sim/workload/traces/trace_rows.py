"""Rows of a recorded trace: read, checked as a whole, ordered, windowed.

Design: a file is read once completely before the run starts, so that wrong input is found before anything is
simulated, rows can be counted, and unsorted times noticed.  Small files stay in memory; long ones are read a second
time, streaming, while the run goes on.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from cluster_sim.errors import InputError
from cluster_sim.options import LONGEST_RUN_S
from cluster_sim.shown_values import counted
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.columns import Columns, concatenate, sort_by_arrival
from cluster_sim.workload.files.csv_file import line_of_row
from cluster_sim.workload.readers.reader_interface import NO_TIME, ReadOptions, ReadReport, TraceReader
from cluster_sim.workload.request import Attributes
from cluster_sim.workload.sampling.random_streams import BLOCK, Ints
from cluster_sim.workload.traces.time_unit import check_unit

KEPT_ROWS: Final = 1_000_000
"""Files of up to this many rows (a twentieth of it with attributes) stay in memory between the passes."""


class TraceWindow(NamedTuple):
    """The part of a trace to replay."""

    start_s: float
    end_s: float | None
    first: int | None
    """Most rows to take."""


class TraceRows:
    """The selected rows of a file in order of arrival, times in ns from the start of the window.

    The first row of the file is at time 0, whatever its format says.
    """

    def __init__(
        self, path: Path, reader: TraceReader, options: ReadOptions, window: TraceWindow, notices: list[str]
    ) -> None:
        self._path = path
        self._reader = reader
        self._options = options
        self._window = window
        self.count = 0
        self.first_ns = 0
        self.last_ns = 0
        self.is_timed = True
        self._origin_ns: int | None = None
        """Instant of the file that is time 0: its first row's, or the earliest where that is another."""
        self._earliest_ns = 0
        self._has_fractions = False
        unit_s = None if options.timestamp_unit_s is not None else reader.unit_s
        self._unit_ns = None if unit_s is None else round(unit_s * NS_PER_S)
        self._kept: list[Columns] | None = []
        self._scan(notices)

    def blocks(self) -> Iterator[Columns]:
        """Yield the rows; every call starts over."""
        yield from self._selected(ReadReport()) if self._kept is None else self._kept

    def _selected(self, report: ReadReport) -> Iterator[Columns]:
        """Yield the rows of the window in file order, times counted from its start."""
        start_s, end_s, left = self._window
        start_ns = round(start_s * NS_PER_S)
        end_ns = None if end_s is None else round(end_s * NS_PER_S)
        for whole in self._reader.blocks(self._path, self._options, report):
            block = self._from_origin(whole)
            if self.is_timed and (start_ns or end_ns is not None):
                inside = block.arrival_ns >= start_ns
                if end_ns is not None:
                    inside &= block.arrival_ns < end_ns
                block = block.rows(np.flatnonzero(inside))
                block.arrival_ns = block.arrival_ns - start_ns
            if left is not None:
                block = block.rows(slice(0, left))
                left -= len(block)
            if len(block):
                yield block
            if left == 0:
                return

    def _from_origin(self, block: Columns) -> Columns:
        """Return a block of the file with times from the file's origin, which the first one fixes."""
        if not len(block):
            return block
        if self._origin_ns is None:
            first_ns = int(block.arrival_ns[0])
            self.is_timed = first_ns != NO_TIME
            self._origin_ns = 0 if self._reader.keeps_times(self._path) else first_ns
        if not self.is_timed or self._origin_ns == 0:
            return block
        times = block.arrival_ns - self._origin_ns
        self._earliest_ns = min(self._earliest_ns, int(times.min()))
        attributes = block.attributes
        if attributes is not None:
            attributes = [_moved(row, -self._origin_ns) for row in attributes]
        return Columns(times, block.prompt_tokens, block.output_tokens, attributes)

    def _scan(self, notices: list[str]) -> None:
        """Read the file once: count its rows, check their order, and keep them if they are few."""
        report = ReadReport()
        disorder = self._pass(report)
        if self._earliest_ns < 0 and self._origin_ns is not None:
            self._origin_ns += self._earliest_ns
            self.count, self._kept, self._earliest_ns = 0, [], 0
            report = ReadReport()
            disorder = self._pass(report)
        if not self.count:
            self._refuse_emptiness(report)
        notices.extend(report.notices(self._path))
        if disorder:
            self._kept = [sort_by_arrival(concatenate(list(self._selected(ReadReport()))))]
            notices.append(f"{self._path}: {counted(disorder, 'time')} went backwards; the rows were sorted by time")
        if self.is_timed:
            self._check_span(report)

    def _pass(self, report: ReadReport) -> int:
        """Read the selected rows once, and return how often the time goes backwards."""
        disorder = 0
        last = None
        for block in self._selected(report):
            times = block.arrival_ns
            before = times[0] if last is None else last
            steps = np.diff(times, prepend=before)
            backward = int(np.count_nonzero(steps < 0)) if self.is_timed else 0
            if backward and self._options.strict:
                self._refuse_disorder(self.count + int(np.flatnonzero(steps < 0)[0]))
            disorder += backward
            self.first_ns = int(times.min()) if last is None else min(self.first_ns, int(times.min()))
            self.last_ns = int(times.max()) if last is None else max(self.last_ns, int(times.max()))
            last = int(times[-1])
            self.count += len(block)
            if self._unit_ns is not None:
                self._has_fractions = self._has_fractions or bool((times % self._unit_ns).any())
            if self._kept is not None:
                self._kept.append(block)
                limit = KEPT_ROWS if block.attributes is None else KEPT_ROWS // 20
                if self.count > limit and not disorder:
                    self._kept = None
        return disorder

    def _check_span(self, report: ReadReport) -> None:
        """Refuse times that no run can span, and a unit of time that only makes sense as another one."""
        span_s = (self.last_ns - self.first_ns) / NS_PER_S
        if self.last_ns > LONGEST_RUN_S * NS_PER_S:
            raise InputError(
                f"{self._path}: times lie {self.last_ns / NS_PER_S:.6g} s apart, beyond the {LONGEST_RUN_S:.0f} s that "
                "a run can span; is the unit of time right? timestamp_unit_s gives another one"
            )
        if self._reader.unit_s is not None and self._options.timestamp_unit_s is None and not report.has_instants:
            check_unit(str(self._path), self._reader.unit_s, self.count, span_s, has_fractions=self._has_fractions)

    def _refuse_emptiness(self, report: ReadReport) -> None:
        if report.skipped:
            raise InputError(f"{self._path}: {report.all_skipped()}")
        raise InputError(f"{self._path}: no row lies in the window from start_s {self._window.start_s:g} on")

    def _refuse_disorder(self, row: int) -> None:
        place = f"row {row}"
        is_whole = not (self._window.start_s or self._window.end_s)
        if self._path.suffix != ".parquet" and self._path.is_file() and is_whole:
            place = f"line {line_of_row(self._path, row)}"
        raise InputError(
            f"{self._path}: {place}: the time goes backwards; sort the file, or set strict: false to sort while reading"
        )


def _moved(attributes: Attributes, by_ns: int) -> Attributes:
    """Return attributes whose deadline, if there is one, has moved with the arrival."""
    return attributes if attributes.deadline_ns < 0 else replace(attributes, deadline_ns=attributes.deadline_ns + by_ns)


def with_times(blocks: Iterator[Columns], times: Iterator[Ints]) -> Iterator[Columns]:
    """Yield the rows with new times, one after the other, ending with whichever ends first."""
    waiting = np.empty(0, dtype=np.int64)
    for block in blocks:
        for start in range(0, len(block), BLOCK):
            part = block.rows(slice(start, start + BLOCK))
            while len(waiting) < len(part):
                more = next(times, None)
                if more is None:
                    break
                waiting = np.concatenate([waiting, more])
            part = part.rows(slice(0, len(waiting)))
            if not len(part):
                return
            part.arrival_ns, waiting = waiting[: len(part)], waiting[len(part) :]
            yield part
