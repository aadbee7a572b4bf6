"""Peaks of a run as ``vllm bench serve`` defines them: most output tokens and most requests in flight in one second.

Seconds are counted from the first arrival of a request that finishes, and only such requests count.  A request is in
flight in every second that it touches.  Its tokens are taken to come evenly between its first and its last.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from cluster_sim.recording.rows import RowBlock
from cluster_sim.recording.statuses import FINISHED, STATUSES
from cluster_sim.units import NS_PER_S

Int64Array = npt.NDArray[np.int64]

PEAK_FIELDS: Final = ("status", "arrival_ns", "first_token_ns", "finish_ns", "output_tokens")
"""Fields of a row that are read."""

_FINISHED_CODE: Final = STATUSES.index(FINISHED)
_MOST_CELLS: Final = 1 << 20
"""Pairs of a request and a second that are held at once."""


class SecondPeaks:
    """Counts by second from ``start_ns`` to ``last_ns``, the last completion."""

    def __init__(self, start_ns: int, last_ns: int) -> None:
        self._start_ns = start_ns
        seconds = max(last_ns - start_ns, 0) // NS_PER_S + 2
        self._tokens: Int64Array = np.zeros(seconds, np.int64)
        self._changes: Int64Array = np.zeros(seconds, np.int64)

    def add(self, block: RowBlock) -> None:
        """Add the rows of ``block``."""
        block = block._replace(rows=block.rows[block.column("status") == _FINISHED_CODE])
        if not len(block.rows):
            return
        size = len(self._changes)
        begins, ends = ((block.column(name) - self._start_ns) // NS_PER_S for name in ("arrival_ns", "finish_ns"))
        self._changes += np.bincount(begins, minlength=size) - np.bincount(ends + 1, minlength=size)
        spans = ends - (block.column("first_token_ns") - self._start_ns) // NS_PER_S + 1
        parts = np.cumsum(spans) // _MOST_CELLS
        for part in np.unique(parts).tolist():
            self._add_tokens(block._replace(rows=block.rows[parts == part]), spans[parts == part])

    def _add_tokens(self, block: RowBlock, spans: Int64Array) -> None:
        """Count the tokens of finished rows, whose tokens come within ``spans`` seconds."""
        first_ns, count = block.column("first_token_ns") - self._start_ns, block.column("output_tokens")
        gap_ns = np.maximum((block.column("finish_ns") - self._start_ns - first_ns) / np.maximum(count - 1, 1), 1.0)
        row = np.repeat(np.arange(len(spans)), spans)
        second = np.arange(len(row)) - np.repeat(np.cumsum(spans) - spans, spans) + first_ns[row] // NS_PER_S
        # Token j comes at first + j gap: as many come before an instant as there are whole gaps up to it, and one.
        before_start, before_end = (
            np.clip(np.ceil((edge * NS_PER_S - first_ns[row]) / gap_ns[row]), 0, count[row])
            for edge in (second, second + 1)
        )
        self._tokens += np.bincount(second, before_end - before_start, len(self._tokens)).astype(np.int64)

    @property
    def max_output_tokens_per_s(self) -> float:
        """Most tokens of one second."""
        return float(self._tokens.max(initial=0))

    @property
    def max_concurrent_requests(self) -> int:
        """Most requests in flight in one second."""
        return int(np.cumsum(self._changes).max(initial=0))
