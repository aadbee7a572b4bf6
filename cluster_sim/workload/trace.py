"""Replay of a recorded trace: read, checked as a whole, ordered, windowed, scaled, clipped.

Design: a file is read once completely before the run starts, so that wrong input is found before anything is
simulated, rows can be counted, and unsorted times noticed.  Small files stay in memory; long ones are read a second
time, streaming, while the run goes on.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from cluster_sim.errors import InputError
from cluster_sim.options import LONGEST_RUN_S
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.arrivals import ArrivalTimes, build_arrivals
from cluster_sim.workload.bootstrap import BootstrapColumns
from cluster_sim.workload.clipping import clip_block
from cluster_sim.workload.columns import Columns, concatenate, sort_by_arrival
from cluster_sim.workload.csv_file import line_of_row
from cluster_sim.workload.limits import limited_times
from cluster_sim.workload.options import TraceWorkload
from cluster_sim.workload.readers.base import NO_TIME, Reader, ReadOptions, ReadReport
from cluster_sim.workload.readers.registry import find_reader
from cluster_sim.workload.sampling.random_streams import BLOCK, Ints, Stream
from cluster_sim.workload.traits import PART_BITS, TraitMaker

KEPT_ROWS: Final = 1_000_000
"""Files of up to this many rows (a twentieth of it with attributes) stay in memory between the passes."""


class TraceRows:
    """The selected rows of a file in order of arrival, times in ns from the start of the window."""

    def __init__(self, config: TraceWorkload, part: int, notices: list[str]) -> None:
        self._config = config
        self._path = Path(config.path)
        self._reader: Reader = find_reader(config.format, self._path)
        self._options = ReadOptions(
            zero_output="refuse" if config.strict and config.zero_output == "auto" else config.zero_output,
            block_tokens=config.block_tokens,
            timestamp_unit_s=config.timestamp_unit_s,
            labels=config.labels,
            prefixes=config.prefixes,
            segment_base=part << PART_BITS,
            strict=config.strict,
        )
        self.count = 0
        self.first_ns = 0
        self.last_ns = 0
        self.is_timed = True
        self._kept: list[Columns] | None = []
        self._scan(notices)

    def blocks(self) -> Iterator[Columns]:
        """Yield the rows; every call starts over."""
        yield from self._selected(ReadReport()) if self._kept is None else self._kept

    def _selected(self, report: ReadReport) -> Iterator[Columns]:
        """Yield the rows of the window in file order, times counted from its start."""
        config = self._config
        start_ns = round(config.start_s * NS_PER_S)
        end_ns = None if config.end_s is None else round(config.end_s * NS_PER_S)
        left = config.first
        for whole in self._reader.blocks(self._path, self._options, report):
            block = whole
            self.is_timed = self.is_timed and not (len(block) and int(block.arrival_ns[0]) == NO_TIME)
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

    def _scan(self, notices: list[str]) -> None:
        report = ReadReport()
        disorder = 0
        last = None
        least = most = 0
        for block in self._selected(report):
            times = block.arrival_ns
            before = times[0] if last is None else last
            steps = np.diff(times, prepend=before)
            back = int(np.count_nonzero(steps < 0)) if self.is_timed else 0
            if back and self._config.strict:
                self._refuse_disorder(self.count + int(np.flatnonzero(steps < 0)[0]))
            disorder += back
            least = int(times.min()) if last is None else min(least, int(times.min()))
            most = max(most, int(times.max()))
            last = int(times[-1])
            self.count += len(block)
            if self._kept is not None:
                self._kept.append(block)
                limit = KEPT_ROWS if block.attributes is None else KEPT_ROWS // 20
                if self.count > limit and not disorder:
                    self._kept = None
        if not self.count:
            skipped = sum(report.skipped.values())
            why = (
                f"all {skipped:,} rows were skipped ({', '.join(report.skipped)})"
                if skipped
                else (f"no row lies in the window from start_s {self._config.start_s:g} on")
            )
            raise InputError(f"{self._path}: {why}")
        notices.extend(report.notices(self._path))
        if disorder:
            self._kept = [sort_by_arrival(concatenate(list(self._selected(ReadReport()))))]
            notices.append(f"{self._path}: {disorder:,} times went backwards; the rows were sorted by time")
        if least < 0 and self.is_timed and disorder:
            self._kept = [
                Columns(one.arrival_ns - least, one.prompt_tokens, one.output_tokens, one.attributes)
                for one in self.blocks()
            ]
            most, least = most - least, 0
        self.first_ns, self.last_ns = least, most

    def _refuse_disorder(self, row: int) -> None:
        place = f"row {row}"
        if (
            self._path.suffix != ".parquet"
            and self._path.is_file()
            and not (self._config.start_s or self._config.end_s)
        ):
            place = f"line {line_of_row(self._path, row)}"
        raise InputError(
            f"{self._path}: {place}: the time goes backwards; sort the file, or set strict: false to sort while reading"
        )


class TraceColumns:
    """A ``ColumnSource`` that replays a trace."""

    def __init__(self, config: TraceWorkload, part: int, stream: Stream, notices: list[str]) -> None:
        self._config = config
        self._rows = TraceRows(config, part, notices)
        self._traits = TraitMaker(config.traits, part, stream.child("traits"))
        self._times: ArrivalTimes | None = None
        if config.arrivals is not None:
            self._times = build_arrivals(config.arrivals, stream.child("arrivals"), self._rows.count)
        elif not self._rows.is_timed:
            raise InputError(f"{config.path}: the file has no arrival times; give workload.arrivals")
        self._scale = self._time_scale()
        if self._times is None and self._rows.last_ns * self._scale > LONGEST_RUN_S * NS_PER_S:
            raise InputError(f"{config.path}: scaled times go beyond the {LONGEST_RUN_S:.0f} s that a run can span")
        self.count: int | None = self._rows.count
        self._bootstrap: BootstrapColumns | None = None
        if config.bootstrap is not None:
            self._bootstrap = BootstrapColumns(config.bootstrap, concatenate(list(self._timed())), stream)
            self.count = config.bootstrap.count
        self._report_clip(notices)

    def _report_clip(self, notices: list[str]) -> None:
        """Tell what the clip does to the rows of the file, in a pass of its own."""
        if self._config.clip is None:
            return
        counts: Counter[str] = Counter()
        first = 0
        for block in self._timed():
            clip_block(self._traits.decorate(block, first), self._config.clip, counts)
            first += len(block)
        notices.extend(f"{self._config.path}: {count:,} rows {what}" for what, count in sorted(counts.items()))

    def _time_scale(self) -> float:
        rate = self._config.request_rate
        if rate is None:
            return self._config.time_scale
        span_ns = self._rows.last_ns - self._rows.first_ns
        if self._rows.count < 2 or span_ns <= 0:
            raise InputError(f"{self._config.path}: request_rate needs a trace of two requests at different times")
        return (self._rows.count - 1) * NS_PER_S / (rate * span_ns)

    def columns(self) -> Iterator[Columns]:
        """Yield the blocks from the first on; every call starts over and gives the same."""
        first = 0
        for block in self._timed() if self._bootstrap is None else self._bootstrap.columns():
            number = first
            first += len(block)
            result = self._traits.decorate(block, number)
            if self._config.clip is not None:
                result = clip_block(result, self._config.clip, Counter())
            if len(result):
                yield result

    def _timed(self) -> Iterator[Columns]:
        if self._times is not None:
            yield from _retimed(self._rows.blocks(), limited_times(self._times, None, None))
            return
        for block in self._rows.blocks():
            arrival = block.arrival_ns
            if self._scale != 1.0:
                arrival = np.rint(arrival * self._scale).astype(np.int64)
            yield Columns(arrival, block.prompt_tokens, block.output_tokens, block.attributes)


def _retimed(blocks: Iterator[Columns], times: Iterator[Ints]) -> Iterator[Columns]:
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
