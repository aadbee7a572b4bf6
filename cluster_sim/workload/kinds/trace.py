"""Replay of a recorded trace: read, checked as a whole, ordered, windowed, scaled, clipped."""

import math
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from cluster_sim.errors import InputError
from cluster_sim.options import GREATEST_WEIGHT, LONGEST_RUN_S, MOST_ITEMS, InputFile
from cluster_sim.shown_values import counted
from cluster_sim.suggestion import suggestion
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.arrivals.arrival_process import Arrivals, ArrivalTimes, build_arrivals
from cluster_sim.workload.columns import Columns, concatenate
from cluster_sim.workload.kind_interface import WORKLOAD_KINDS, LoadUnit, OpenLoopKind, OpenLoopOptions, WorkloadParts
from cluster_sim.workload.readers.column_names import ColumnNames
from cluster_sim.workload.readers.mapped_reader import MappedReader
from cluster_sim.workload.readers.reader_interface import NO_TIME, ReadOptions, ReadReport, TraceReader
from cluster_sim.workload.readers.request_fields import LABELS
from cluster_sim.workload.readers.trace_format import AUTO, TraceFormat, find_reader
from cluster_sim.workload.sampling.random_streams import Stream
from cluster_sim.workload.sessions.recorded_source import RecordedSource
from cluster_sim.workload.source import FeedbackSource, RequestSource
from cluster_sim.workload.traces.bootstrap import Bootstrap, BootstrapColumns
from cluster_sim.workload.traces.clipping import Clip, clip_block
from cluster_sim.workload.traces.session_replay import read_sessions, scaled, started_by
from cluster_sim.workload.traces.trace_rows import TraceRows, TraceWindow, with_times
from cluster_sim.workload.traits.trait_options import Traits
from cluster_sim.workload.traits.trait_sampler import PART_BITS, TraitSampler


class TraceWorkload(OpenLoopOptions):
    """Replay of a recorded trace."""

    example: ClassVar = {"path": "trace.csv"}
    example_files: ClassVar = {"trace.csv": "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,4808,10\n"}

    kind: Literal["trace"] = "trace"
    format: TraceFormat = Field(
        default=AUTO,
        description="Format of the file; auto looks at its first rows.  A format with options of its own takes a "
        "block: kind, its name, and they.",
    )
    path: InputFile = Field(description="The file; gzip and zstd are told by content.")
    columns: ColumnNames | None = Field(
        default=None, description="The file's own columns, for CSV, Parquet or JSON lines of no known format."
    )
    time_scale: float = Field(
        default=1.0, gt=0, le=GREATEST_WEIGHT, description="Multiplies gaps: 0.1 is ten times the rate."
    )
    request_rate: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=True,
        description="Scale gaps so that the mean rate is this, requests per second; shape kept; .inf: all at once.",
    )
    first: int | None = Field(
        default=None, ge=1, le=MOST_ITEMS, description="Take this many rows (sessions, where rows are turns)."
    )
    start_s: float = Field(
        default=0.0, ge=0, le=LONGEST_RUN_S, description="Skip what arrives earlier, seconds of the trace."
    )
    end_s: float | None = Field(
        default=None, gt=0, le=LONGEST_RUN_S, description="Stop at this time, seconds of the trace."
    )
    clip: Clip | None = Field(default=None, description="Bounds on lengths.")
    arrivals: Arrivals | None = Field(
        default=None, description="Replace the trace's times; required for files without times."
    )
    bootstrap: Bootstrap | None = Field(default=None, description="Resample the trace to another length.")
    strict: bool = Field(
        default=False, description="Refuse unsorted times and rows that would be skipped, instead of noticing them."
    )
    zero_tokens: Literal["auto", "skip", "one", "refuse"] = Field(
        default="auto",
        description="Rows without prompt or without output tokens: skip, take as 1, refuse; auto: what the format "
        "knows of such rows (failed calls of BurstGPT and of benchmarks are skipped), else refuse.",
    )
    block_tokens: int | None = Field(
        default=None,
        ge=1,
        le=MOST_ITEMS,
        description="Tokens per prefix hash; absent: the format's (Mooncake 512, Bailian 16).",
    )
    timestamp_unit_s: float | None = Field(
        default=None,
        gt=0,
        le=LONGEST_RUN_S,
        description="Seconds per unit of time in the file (0.001 for ms); absent: the format's, which is asked about "
        "where it makes no sense.",
    )
    labels: dict[str, str] = Field(
        default_factory=dict,
        description="Names of the file's fields where they differ: timestamp, input_length, output_length, hash_ids.",
    )
    prefixes: bool = Field(default=True, description="Whether prefix hashes of the trace become shared prompt content.")
    traits: Traits = Field(default_factory=Traits, description="What the requests carry besides.")

    @model_validator(mode="after")
    def _check_times(self) -> Self:
        if self.request_rate is not None and self.time_scale != 1.0:
            raise ValueError("give time_scale or request_rate, not both")
        if self.end_s is not None and self.end_s <= self.start_s:
            raise ValueError("end_s must be greater than start_s")
        return self

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        for name in self.labels:
            if name not in LABELS:
                raise ValueError(
                    f"labels: unknown field {name!r}{suggestion(name, list(LABELS))}; known: {', '.join(LABELS)}"
                )
        if self.columns is None:
            return self
        if self.format != AUTO:
            raise ValueError("give columns, which name the file's own, or a format, not both")
        for name in ("labels", "timestamp_unit_s", "block_tokens"):
            if name in self.model_fields_set and getattr(self, name):
                raise ValueError(
                    f"{name} belongs to a format; it does not go with columns (whose unit is columns.unit)"
                )
        return self


@WORKLOAD_KINDS.register("trace", TraceWorkload)
class TraceKind(OpenLoopKind[TraceWorkload]):
    """Replay of a recorded trace."""

    @property
    def total_requests(self) -> int | None:
        """The number of rows to produce, if the options say it."""
        return self.options.bootstrap.count if self.options.bootstrap is not None else self.options.first

    @property
    def is_stationary(self) -> bool:
        """Whether arrivals of one rate, or windows in a drawn order, take the place of the trace's own times."""
        arrivals, bootstrap = self.options.arrivals, self.options.bootstrap
        return arrivals.has_constant_rate if arrivals is not None else bootstrap is not None

    def mean_rate(self) -> float | None:
        """Return the mean rate that gaps are scaled to, or of the arrivals in their place; None for the trace's own."""
        arrivals = self.options.arrivals
        if arrivals is None:
            return self.options.request_rate
        rate = getattr(arrivals, "request_rate", None)
        return float(rate) if rate is not None else super().mean_rate()

    def at_rate(self, rate_per_s: float) -> TraceWorkload:
        """Return the options with gaps scaled to another mean rate, or with arrivals of it."""
        arrivals = self.options.arrivals
        if arrivals is not None:
            changed = arrivals.model_copy(update={"request_rate": rate_per_s})
            return self.options.model_copy(update={"arrivals": changed})
        return self.options.model_copy(update={"request_rate": rate_per_s, "time_scale": 1.0})

    def scaled_rates(self, factor: float) -> TraceWorkload:
        """Return the options with gaps so much shorter, or with arrivals so much faster."""
        options = self.options
        if options.arrivals is not None:
            return super().scaled_rates(factor)
        if options.request_rate is None:
            return options.model_copy(update={"time_scale": options.time_scale / factor})
        if math.isinf(options.request_rate):
            raise InputError("workload.request_rate: .inf sends all requests at once, which cannot be varied")
        return options.model_copy(update={"request_rate": options.request_rate * factor})

    @property
    def load_unit(self) -> LoadUnit:
        """Sessions if rows are turns that wait for one another."""
        return "sessions" if self.has_sessions else "requests"

    @property
    def has_sessions(self) -> bool:
        """Whether the file's rows are turns that wait for one another."""
        path = Path(self.options.path)
        return reader_of(self.options).holds_sessions(path)

    @property
    def reacts(self) -> bool:
        """Whether turns wait for one another, or a client limits the requests in flight."""
        return super().reacts or self.has_sessions

    def columns(self, parts: WorkloadParts) -> "TraceColumns":
        """Return the rows of the trace."""
        return TraceColumns(self.options, *parts.take(), parts.notices)

    def source(self, parts: WorkloadParts) -> RequestSource | FeedbackSource:
        """Return the source of the requests."""
        return session_source(self.options, parts) if self.has_sessions else super().source(parts)


def reader_of(options: TraceWorkload) -> TraceReader:
    """Return the reader of a trace."""
    if options.columns is not None:
        return MappedReader(options.columns)
    reader = find_reader(options.format, Path(options.path))
    for name in ("labels", "block_tokens", "timestamp_unit_s"):
        if getattr(options, name) and name not in reader.heeds:
            raise InputError(
                f"workload.{name}: has no effect on {options.path}, a file of another format; leave it out"
            )
    return reader


def has_times(options: TraceWorkload) -> bool:
    """Return whether a trace has arrival times; only its first rows are read."""
    path, reader = Path(options.path), reader_of(options)
    lax = ReadOptions("skip", None, options.timestamp_unit_s, options.labels, prefixes=False)
    if reader.holds_sessions(path):
        return any(session.start_ns is not None for session in reader.sessions(path, lax, ReadReport()))
    first = next((block for block in reader.blocks(path, lax, ReadReport()) if len(block)), None)
    return reader.has_times and (first is None or int(first.arrival_ns[0]) != NO_TIME)


def read_options(options: TraceWorkload, part: int) -> ReadOptions:
    """Return what a reader must know of the options."""
    return ReadOptions(
        zero_tokens="refuse" if options.strict and options.zero_tokens == "auto" else options.zero_tokens,
        block_tokens=options.block_tokens,
        timestamp_unit_s=options.timestamp_unit_s,
        labels=options.labels,
        prefixes=options.prefixes,
        segment_base=part << PART_BITS,
        strict=options.strict,
    )


def time_scale(options: TraceWorkload, count: int, span_ns: int) -> float:
    """Return the factor of all gaps, for ``count`` requests over ``span_ns``."""
    rate = options.request_rate
    if rate is None:
        return options.time_scale
    if math.isinf(rate):
        return 0.0
    if count < 2 or span_ns <= 0:
        raise InputError(f"{options.path}: request_rate needs a trace of two requests at different times")
    return (count - 1) * NS_PER_S / (rate * span_ns)


def session_source(options: TraceWorkload, parts: WorkloadParts) -> RecordedSource:
    """Return the source of a trace's sessions."""
    path, reader = Path(options.path), reader_of(options)
    given = [name for name in ("bootstrap", "clip", "max_concurrency") if getattr(options, name) is not None]
    given += ["traits"] if options.traits != Traits() else []
    if given:
        raise InputError(
            f"workload.{given[0]}: does not go with {path}, whose rows are turns of sessions that wait for one another"
            f"{reader.without_sessions}"
        )
    part, stream = parts.take()
    window = TraceWindow(options.start_s, options.end_s, options.first)
    sessions = read_sessions(path, reader, read_options(options, part), window, parts.notices)
    if options.arrivals is not None:
        times = build_arrivals(options.arrivals, stream.child("arrivals"), len(sessions))
        sessions = started_by(sessions, times)
    else:
        sessions = scaled(path, sessions, partial(time_scale, options))
    return RecordedSource(sessions, part << PART_BITS, with_content=options.prefixes)


class TraceColumns:
    """A ``ColumnSource`` that replays a trace."""

    def __init__(self, options: TraceWorkload, part: int, stream: Stream, notices: list[str]) -> None:
        self._options = options
        self._rows = TraceRows(
            Path(options.path),
            reader_of(options),
            read_options(options, part),
            TraceWindow(options.start_s, options.end_s, options.first),
            notices,
        )
        self._traits = TraitSampler(options.traits, part, stream.child("traits"))
        self._times: ArrivalTimes | None = None
        if options.arrivals is not None:
            self._times = build_arrivals(options.arrivals, stream.child("arrivals"), self._rows.count)
        elif not self._rows.is_timed:
            raise InputError(f"{options.path}: the file has no arrival times; give workload.arrivals")
        self._scale = time_scale(options, self._rows.count, self._rows.last_ns - self._rows.first_ns)
        if self._times is None and self._rows.last_ns * self._scale > LONGEST_RUN_S * NS_PER_S:
            raise InputError(f"{options.path}: scaled times go beyond the {LONGEST_RUN_S:.0f} s that a run can span")
        self._bootstrap: BootstrapColumns | None = None
        if options.bootstrap is not None:
            self._bootstrap = BootstrapColumns(options.bootstrap, concatenate(list(self._timed())), stream)
        self._report_clip(notices)

    def columns(self) -> Iterator[Columns]:
        """Yield the blocks from the first on; every call starts over and gives the same."""
        first = 0
        for block in self._timed() if self._bootstrap is None else self._bootstrap.columns():
            number = first
            first += len(block)
            result = self._traits.decorate(block, number)
            if self._options.clip is not None:
                result = clip_block(result, self._options.clip, Counter())
            if len(result):
                yield result

    def _report_clip(self, notices: list[str]) -> None:
        """Count the rows of the file that the clip changes or drops, in a pass of its own, for the notices."""
        if self._options.clip is None:
            return
        counts: Counter[str] = Counter()
        first = 0
        for block in self._timed():
            clip_block(self._traits.decorate(block, first), self._options.clip, counts)
            first += len(block)
        notices.extend(
            f"{self._options.path}: {counted(count, 'row')} {change}" for change, count in sorted(counts.items())
        )

    def _timed(self) -> Iterator[Columns]:
        """Yield the rows with the times of the replay."""
        if self._times is not None:
            yield from with_times(self._rows.blocks(), self._times())
            return
        for block in self._rows.blocks():
            arrival_ns = block.arrival_ns
            if self._scale != 1.0:
                arrival_ns = np.rint(arrival_ns * self._scale).astype(np.int64)
            yield Columns(arrival_ns, block.prompt_tokens, block.output_tokens, block.attributes)
