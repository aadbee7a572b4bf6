"""Bootstrap of a trace to any length: windows drawn with replacement and laid end to end.

Design: a moving-block bootstrap in time.  A window keeps everything correlated inside it (bursts, sessions, mixes of
lengths) and windows start at any time of the trace, wrapping around its end, so that all of it is equally likely.
"""

from collections.abc import Iterator
from typing import Final, Self

import numpy as np
from pydantic import Field, model_validator

from cluster_sim.errors import InputError
from cluster_sim.options import LONGEST_RUN_S, MOST_ITEMS, ConfigModel
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.columns import Columns, concatenate
from cluster_sim.workload.sampling.random_streams import BLOCK, Stream

_MOST_EMPTY: Final = 1_000_000


class Bootstrap(ConfigModel):
    """Make a trace of any length from one: windows drawn with replacement and laid end to end."""

    window_s: float = Field(
        default=60.0, gt=0, le=LONGEST_RUN_S, description="Length of a window, seconds; keeps what is correlated."
    )
    count: int | None = Field(default=None, ge=1, le=MOST_ITEMS, description="Requests to produce.")
    duration_s: float | None = Field(default=None, gt=0, le=LONGEST_RUN_S, description="Length to produce, seconds.")

    @model_validator(mode="after")
    def _check_end(self) -> Self:
        if (self.count is None) == (self.duration_s is None):
            raise ValueError("bootstrap takes either count or duration_s")
        return self


class BootstrapColumns:
    """A ``ColumnSource`` over the rows of a whole trace, held in memory."""

    def __init__(self, options: Bootstrap, trace: Columns, stream: Stream) -> None:
        self._options = options
        self._trace = trace
        self._stream = stream.child("bootstrap")
        self._window_ns = round(options.window_s * NS_PER_S)
        self._span_ns = int(trace.arrival_ns[-1]) + 1
        if self._window_ns > self._span_ns:
            raise InputError(
                f"workload.bootstrap: window_s {options.window_s:g} is longer than the trace of "
                f"{self._span_ns / NS_PER_S:g} s"
            )

    def columns(self) -> Iterator[Columns]:
        """Yield blocks of windows; every call starts over and gives the same."""
        left = self._options.count
        end_ns = None if self._options.duration_s is None else round(self._options.duration_s * NS_PER_S)
        place_ns = 0
        empty = 0
        for number in range(1 << 40):
            if number % BLOCK == 0:
                starts = (self._stream.uniforms(number, BLOCK) * self._span_ns).astype(np.int64)
            block = self._window(int(starts[number % BLOCK]), place_ns)
            place_ns += self._window_ns
            if end_ns is not None:
                block = block.rows(slice(0, int(np.searchsorted(block.arrival_ns, end_ns, side="left"))))
            if left is not None:
                block = block.rows(slice(0, left))
                left -= len(block)
            empty = 0 if len(block) else empty + 1
            if len(block):
                yield block
            if left == 0 or (end_ns is not None and place_ns >= end_ns) or empty > _MOST_EMPTY:
                return

    def _window(self, start_ns: int, place_ns: int) -> Columns:
        """Return the rows of the window that starts at ``start_ns`` of the trace, placed at ``place_ns``."""
        end_ns = start_ns + self._window_ns
        parts = [self._between(start_ns, min(end_ns, self._span_ns), place_ns - start_ns)]
        if end_ns > self._span_ns:
            parts.append(self._between(0, end_ns - self._span_ns, place_ns + self._span_ns - start_ns))
        return concatenate(parts)

    def _between(self, start_ns: int, end_ns: int, shift_ns: int) -> Columns:
        low, high = np.searchsorted(self._trace.arrival_ns, [start_ns, end_ns], side="left").tolist()
        part = self._trace.rows(slice(low, high))
        return Columns(part.arrival_ns + shift_ns, part.prompt_tokens, part.output_tokens, part.attributes)
