"""Replay of a recorded trace: read, checked as a whole, ordered, windowed, scaled, clipped."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from cluster_sim.errors import InputError
from cluster_sim.options import LONGEST_RUN_S, InputFile
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.arrivals.arrival_process import Arrivals, ArrivalTimes, build_arrivals
from cluster_sim.workload.columns import Columns, concatenate
from cluster_sim.workload.readers.reader import ReadOptions
from cluster_sim.workload.readers.trace_format import AUTO, TraceFormat, find_reader
from cluster_sim.workload.sampling.random_streams import Stream
from cluster_sim.workload.traces.bootstrap import Bootstrap, BootstrapColumns
from cluster_sim.workload.traces.clipping import Clip, clip_block
from cluster_sim.workload.traces.trace_rows import TraceRows, TraceWindow, with_times
from cluster_sim.workload.traits.trait_options import Traits
from cluster_sim.workload.traits.trait_sampler import PART_BITS, TraitSampler
from cluster_sim.workload.workload_kind import WORKLOAD_KINDS, OpenLoopKind, OpenLoopOptions, WorkloadParts


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
    time_scale: float = Field(default=1.0, gt=0, description="Multiplies gaps: 0.1 is ten times the rate.")
    request_rate: float | None = Field(
        default=None, gt=0, description="Scale gaps so that the mean rate is this, requests per second; shape kept."
    )
    first: int | None = Field(default=None, ge=1, description="Take this many rows.")
    start_s: float = Field(default=0.0, ge=0, description="Skip what arrives earlier, seconds of the trace.")
    end_s: float | None = Field(default=None, gt=0, description="Stop at this time, seconds of the trace.")
    clip: Clip | None = Field(default=None, description="Bounds on lengths.")
    arrivals: Arrivals | None = Field(
        default=None, description="Replace the trace's times; required for files without times."
    )
    bootstrap: Bootstrap | None = Field(default=None, description="Resample the trace to another length.")
    strict: bool = Field(
        default=False, description="Refuse unsorted times and rows that would be skipped, instead of noticing them."
    )
    zero_output: Literal["auto", "skip", "one", "refuse"] = Field(
        default="auto",
        description="Rows without output tokens: skip, take as 1, refuse; auto: skip in BurstGPT, else refuse.",
    )
    block_tokens: int | None = Field(
        default=None, ge=1, description="Tokens per prefix hash; absent: the format's (Mooncake 512, Bailian 16)."
    )
    timestamp_unit_s: float | None = Field(
        default=None,
        gt=0,
        description="Seconds per unit of timestamp (timed_trace: 0.001 for ms); absent: the format's.",
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


@WORKLOAD_KINDS.register("trace", TraceWorkload)
class TraceKind(OpenLoopKind[TraceWorkload]):
    """Replay of a recorded trace."""

    @property
    def replays_traces(self) -> bool:
        """Whether it reads traces whose rows may be skipped, sorted or cut: always."""
        return True

    @property
    def total_requests(self) -> int | None:
        """The number of rows to produce, if the options say it."""
        return self.options.bootstrap.count if self.options.bootstrap is not None else self.options.first

    def mean_rate(self) -> float | None:
        """Return the mean rate that gaps are scaled to; None for the trace's own."""
        return self.options.request_rate

    def at_rate(self, rate_per_s: float) -> TraceWorkload:
        """Return the options with gaps scaled to another mean rate."""
        return self.options.model_copy(update={"request_rate": rate_per_s, "time_scale": 1.0})

    def columns(self, parts: WorkloadParts) -> "TraceColumns":
        """Return the rows of the trace."""
        return TraceColumns(self.options, *parts.take(), parts.notices)


class TraceColumns:
    """A ``ColumnSource`` that replays a trace."""

    def __init__(self, options: TraceWorkload, part: int, stream: Stream, notices: list[str]) -> None:
        self._options = options
        self._rows = TraceRows(
            Path(options.path),
            find_reader(options.format, Path(options.path)),
            ReadOptions(
                zero_output="refuse" if options.strict and options.zero_output == "auto" else options.zero_output,
                block_tokens=options.block_tokens,
                timestamp_unit_s=options.timestamp_unit_s,
                labels=options.labels,
                prefixes=options.prefixes,
                segment_base=part << PART_BITS,
                strict=options.strict,
            ),
            TraceWindow(options.start_s, options.end_s, options.first),
            notices,
        )
        self._traits = TraitSampler(options.traits, part, stream.child("traits"))
        self._times: ArrivalTimes | None = None
        if options.arrivals is not None:
            self._times = build_arrivals(options.arrivals, stream.child("arrivals"), self._rows.count)
        elif not self._rows.is_timed:
            raise InputError(f"{options.path}: the file has no arrival times; give workload.arrivals")
        self._scale = self._time_scale()
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
        notices.extend(f"{self._options.path}: {count:,} rows {change}" for change, count in sorted(counts.items()))

    def _time_scale(self) -> float:
        rate = self._options.request_rate
        if rate is None:
            return self._options.time_scale
        span_ns = self._rows.last_ns - self._rows.first_ns
        if self._rows.count < 2 or span_ns <= 0:
            raise InputError(f"{self._options.path}: request_rate needs a trace of two requests at different times")
        return (self._rows.count - 1) * NS_PER_S / (rate * span_ns)

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
