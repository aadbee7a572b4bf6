"""First tokens of a replica's requests, observed when they come: times to them, and the prompts behind them.

vLLM counts a prompt once, when its prefill ends, and says where its tokens came from.  A note is the five integers of
``FirstTokenLog.note``; the newest stay apart, so that ``cut`` can take out what lies beyond the end of the run.
"""

from array import array
from typing import Final

import numpy as np
import numpy.typing as npt

from cluster_sim.recording import buckets
from cluster_sim.recording.exact_sums import sums_by_group
from cluster_sim.recording.interval_bins import IntervalBins, counts_by_slot

Int64Array = npt.NDArray[np.int64]

PROMPTS, PROMPT_TOKENS, CACHED_TOKENS, EXTERNAL_TOKENS, TTFT_SUM_NS = range(5)
TTFT_COUNTS: Final = slice(5, 6 + len(buckets.TTFT_GRID_S))
ROWS: Final = TTFT_COUNTS.stop
"""Figures kept: prompts whose prefill has ended, their tokens, those of them found in the replica's own cache and those
that came from outside, the sum of times to first tokens, and their histogram on ``TTFT_GRID_S``."""

FIELDS: Final = 5
"""Integers of a note."""
NOTES: Final = 2048
"""Notes that stay apart; counted in bulk when there are twice as many."""

_BOUNDS_NS: Final = buckets.nanoseconds(buckets.TTFT_GRID_S)


class FirstTokenBins(IntervalBins):
    """Figures of first tokens by the interval in which they came."""

    __slots__ = ()

    def __init__(self, interval_ns: int) -> None:
        super().__init__(interval_ns, ROWS)

    def add(self, notes: Int64Array) -> None:
        """Add int64[n, FIELDS] notes, at least one."""
        first, slots, sums = self._begin(notes[:, 0])
        _add_notes(sums, notes, slots)
        self._end(first, sums)


def sums_by_owner(notes: Int64Array, owners: npt.NDArray[np.integer], count: int) -> Int64Array:
    """Return int64[count, ROWS], the figures of int64[n, FIELDS] notes by their ``owners``."""
    sums = np.zeros((ROWS, count), np.int64)
    _add_notes(sums, notes, owners)
    return sums.T


def _add_notes(sums: Int64Array, notes: Int64Array, groups: npt.NDArray[np.integer]) -> None:
    """Add int64[n, FIELDS] notes to int64[ROWS, groups]."""
    size = sums.shape[1]
    sums[PROMPTS] = np.bincount(groups, minlength=size)
    for row, column in ((PROMPT_TOKENS, 2), (CACHED_TOKENS, 3), (EXTERNAL_TOKENS, 4)):
        sums[row] = np.bincount(groups, notes[:, column], size)
    is_timed = notes[:, 1] >= 0
    groups, ttft_ns = groups[is_timed], notes[is_timed, 1]
    high, low = sums_by_group(groups, ttft_ns, size)
    sums[TTFT_SUM_NS] = (high << 32) + low
    rows = np.searchsorted(_BOUNDS_NS, ttft_ns, side="left")
    sums[TTFT_COUNTS] = counts_by_slot(rows, groups, None, sums[TTFT_COUNTS])


class FirstTokenLog:
    """The first tokens of one replica; ``series_interval_ns`` as in ``ReplicaLog``."""

    __slots__ = ("_bins", "_notes", "counted")

    def __init__(self, series_interval_ns: int) -> None:
        self._notes = array("q")
        self.counted = 0
        """Notes that have been counted in bulk; the others wait."""
        self._bins = FirstTokenBins(series_interval_ns)

    def note(self, end_ns: int, ttft_ns: int, prompt_tokens: int, cached_tokens: int, external_tokens: int) -> None:
        """Note a prompt whose prefill ends at ``end_ns``; a time below the last one counts as that.

        ``ttft_ns`` is -1 if the client does not get its first token with that.
        """
        notes = self._notes
        if notes and notes[-FIELDS] > end_ns:
            end_ns = notes[-FIELDS]
        notes.extend((end_ns, ttft_ns, prompt_tokens, cached_tokens, external_tokens))
        if len(notes) >= 2 * NOTES * FIELDS:
            self._count(NOTES)

    def cut(self, end_ns: int) -> None:
        """Take out what comes after ``end_ns``, the end of the run."""
        notes = self._array()
        self._notes = array("q", notes[notes[:, 0] <= end_ns].tobytes())

    def totals(self, upto_ns: int = 1 << 62) -> Int64Array:
        """Return int64[ROWS] over everything noted, of the newest notes without those after ``upto_ns``."""
        notes = self._array()
        notes = notes[notes[:, 0] <= upto_ns]
        if not len(notes):
            return self._bins.totals
        held = FirstTokenBins(0)
        held.add(notes)
        totals: Int64Array = self._bins.totals + held.totals
        return totals

    @property
    def counted_totals(self) -> Int64Array:
        """Figures of all notes that have been counted, int64[ROWS]."""
        return self._bins.totals

    def notes_from(self, note: int) -> bytes:
        """Return the notes from one on, which is not counted yet, as int64[n, FIELDS]."""
        first = (note - self.counted) * FIELDS
        return self._notes[first:].tobytes() if first < len(self._notes) else b""

    def take(self, times_ns: Int64Array) -> Int64Array:
        """Return int64[ROWS, times], the figures since the time before, and forget them."""
        self._count(int(np.searchsorted(self._array()[:, 0], times_ns[-1], side="right")))
        return self._bins.take(times_ns)

    def _array(self) -> Int64Array:
        return np.frombuffer(self._notes.tobytes(), np.int64).reshape(-1, FIELDS)

    def _count(self, notes: int) -> None:
        """Count the oldest notes in bulk."""
        if notes:
            self._bins.add(self._array()[:notes])
            del self._notes[: notes * FIELDS]
            self.counted += notes
