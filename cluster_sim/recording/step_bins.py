"""Figures of engine iterations, summed by the interval of simulated time in which the iteration ended."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cluster_sim.recording import buckets
from cluster_sim.recording.exact_sums import sums_by_group

Int64Array = npt.NDArray[np.int64]

GAP_BOUNDS_NS: Final = buckets.nanoseconds(buckets.TOKEN_GAP_S)
ITERATION_BOUNDS: Final = np.array(buckets.ITERATION_TOKENS, np.int64)

ITERATIONS, PROMPT_TOKENS, GENERATED_TOKENS, GAP_SUM_NS = range(4)
GAP_COUNTS: Final = slice(4, 5 + len(GAP_BOUNDS_NS))
ITERATION_COUNTS: Final = slice(GAP_COUNTS.stop, GAP_COUNTS.stop + 1 + len(ITERATION_BOUNDS))
ROWS: Final = ITERATION_COUNTS.stop
"""Figures kept: iterations, prompt and generated tokens, the sum of token gaps, vLLM's histograms of token gaps and of
tokens per iteration."""

_WHOLE_RUN_NS: Final = 1 << 62


class StepBins:
    """Sums over intervals ((k - 1) * ``interval_ns``, k * ``interval_ns``], kept from the first not yet taken.

    Iterations may be added long before their interval is taken; those of an interval already taken count in the next.
    ``totals`` is int64[ROWS] over everything added.  An interval of 0 keeps totals only.
    """

    __slots__ = ("_base", "_bins", "_interval_ns", "totals")

    def __init__(self, interval_ns: int) -> None:
        self._interval_ns = interval_ns or _WHOLE_RUN_NS
        self._base = 0
        self._bins: Int64Array = np.zeros((ROWS, 0), np.int64)
        self.totals: Int64Array = np.zeros(ROWS, np.int64)

    def add_steps(
        self, ends: Int64Array, gaps: Int64Array, weights: Int64Array, prompts: Int64Array, generated: Int64Array
    ) -> None:
        """Add single iterations by their ends in ns; ``weights`` requests of each got a token after ``gaps`` ns."""
        first, slots, sums = self._begin(ends)
        size = sums.shape[1]
        sums[ITERATIONS] = np.bincount(slots, minlength=size)
        sums[PROMPT_TOKENS] = np.bincount(slots, prompts, size)
        sums[GENERATED_TOKENS] = np.bincount(slots, generated, size)
        tokens = np.searchsorted(ITERATION_BOUNDS, prompts + generated, side="left")
        sums[ITERATION_COUNTS] = _counts(tokens, slots, None, sums[ITERATION_COUNTS])
        self._add_gaps(sums, slots, gaps, weights)
        self._end(first, sums)

    def add_gaps(self, ends: Int64Array, gaps: Int64Array) -> None:
        """Add token gaps that the iterations ending at ``ends`` did not tell."""
        first, slots, sums = self._begin(ends)
        self._add_gaps(sums, slots, gaps, np.ones(len(gaps), np.int64))
        self._end(first, sums)

    def add_runs(self, ends: Int64Array, gaps: Int64Array, lengths: Int64Array, weights: Int64Array) -> None:
        """Add decode runs of ``lengths`` iterations, in each of which ``weights``[run] requests get a token.

        ``ends`` and ``gaps`` hold those of all runs in ns.  A replica's runs follow each other in time, so the ends
        rise, each tick cuts the runs at one place, and what is constant over a run is added without a look at its
        iterations.
        """
        first, _, sums = self._begin(ends[[0, -1]])
        ticks = (self._base + first + np.arange(sums.shape[1])) * self._interval_ns
        upto = np.searchsorted(ends, ticks, side="right")
        stops = np.cumsum(lengths)
        starts = stops - lengths
        run = np.minimum(np.searchsorted(stops, upto, side="right"), len(lengths) - 1)

        low = np.searchsorted(GAP_BOUNDS_NS, np.minimum.reduceat(gaps, starts), side="left")
        high = np.searchsorted(GAP_BOUNDS_NS, np.maximum.reduceat(gaps, starts), side="left")
        is_whole = low == high
        rows, per_step = _constants(weights, np.where(is_whole, low, -1))
        per_run = per_step * lengths
        before = np.cumsum(per_run, axis=1) - per_run
        sums[rows] = before[:, run] + (upto - starts[run]) * per_step[:, run]
        gap_sums = np.concatenate([np.zeros(1, np.int64), np.cumsum(gaps)])
        gaps_of_run = (gap_sums[stops] - gap_sums[starts]) * weights
        gaps_before = np.cumsum(gaps_of_run) - gaps_of_run
        sums[GAP_SUM_NS] = gaps_before[run] + (gap_sums[upto] - gap_sums[starts[run]]) * weights[run]
        sums[:, 1:] -= sums[:, :-1].copy()

        if not is_whole.all():
            is_cut = np.repeat(~is_whole, lengths)
            cut = np.searchsorted(GAP_BOUNDS_NS, gaps[is_cut], side="left")
            cut_weights = np.repeat(weights[~is_whole], lengths[~is_whole])
            sums[GAP_COUNTS] += _counts(cut, self._slots(ends[is_cut]) - first, cut_weights, sums[GAP_COUNTS])
        self._end(first, sums)

    def take(self, times_ns: Int64Array) -> Int64Array:
        """Return int64[ROWS, times], the figures since the time before, and forget them.

        ``times_ns`` rise from call to call; there is at least one.
        """
        ticks = (times_ns + self._interval_ns - 1) // self._interval_ns
        slots = ticks - self._base
        width = int(slots[-1]) + 1
        cumulative = np.zeros((ROWS, width), np.int64)
        held = min(self._bins.shape[1], width)
        np.cumsum(self._bins[:, :held], axis=1, out=cumulative[:, :held])
        if held:
            cumulative[:, held:] = cumulative[:, held - 1 : held]
        upto = cumulative[:, slots]
        upto[:, 1:] -= cumulative[:, slots[:-1]]
        self._bins = self._bins[:, width:].copy()
        self._base = int(ticks[-1]) + 1
        return upto

    def snapshot(self) -> dict[str, Any]:
        """Return the whole state as plain data fit for msgpack."""
        return {"base": self._base, "bins": self._bins.tobytes(), "totals": self.totals.tobytes()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back a state returned by ``snapshot``."""
        self._base = state["base"]
        self._bins = np.frombuffer(state["bins"], np.int64).reshape(ROWS, -1).copy()
        self.totals = np.frombuffer(state["totals"], np.int64).copy()

    def _slots(self, ends: Int64Array) -> Int64Array:
        """Return the intervals, counted from the first one kept, that iterations ending at ``ends`` belong to."""
        slots: Int64Array = np.maximum((ends + (self._interval_ns - 1)) // self._interval_ns - self._base, 0)
        return slots

    def _begin(self, ends: Int64Array) -> tuple[int, Int64Array, Int64Array]:
        """Return the first slot of ``ends``, their slots counted from it, and room for the sums of each slot."""
        slots = self._slots(ends)
        first = int(slots.min())
        slots -= first
        return first, slots, np.zeros((ROWS, int(slots.max()) + 1), np.int64)

    def _add_gaps(self, sums: Int64Array, slots: Int64Array, gaps: Int64Array, weights: Int64Array) -> None:
        high, low = sums_by_group(slots, gaps * weights, sums.shape[1])
        sums[GAP_SUM_NS] = (high << 32) + low
        sums[GAP_COUNTS] = _counts(np.searchsorted(GAP_BOUNDS_NS, gaps, side="left"), slots, weights, sums[GAP_COUNTS])

    def _end(self, first: int, sums: Int64Array) -> None:
        """Add what was summed from slot ``first`` on."""
        self.totals += sums.sum(axis=1)
        end = first + sums.shape[1]
        if end > self._bins.shape[1]:
            grown = np.zeros((ROWS, end + 16), np.int64)
            grown[:, : self._bins.shape[1]] = self._bins
            self._bins = grown
        self._bins[:, first:end] += sums


def _constants(weights: Int64Array, gap_buckets: npt.NDArray[np.intp]) -> tuple[Int64Array, Int64Array]:
    """Return the rows of figures that are constant over a run, and each one's amount per iteration, int64[rows, runs].

    ``gap_buckets`` is -1 where a run's gaps lie in several buckets.
    """
    token_rows = ITERATION_COUNTS.start + np.searchsorted(ITERATION_BOUNDS, weights, side="left")
    gap_rows = np.where(gap_buckets >= 0, GAP_COUNTS.start + gap_buckets, ITERATIONS)
    rows = np.unique(np.concatenate([np.array([ITERATIONS, GENERATED_TOKENS]), token_rows, gap_rows]))
    amounts = np.zeros((len(rows), len(weights)), np.int64)
    numbers = np.arange(len(weights))
    amounts[np.searchsorted(rows, gap_rows), numbers] = weights
    amounts[np.searchsorted(rows, token_rows), numbers] = 1
    amounts[0] = 1
    amounts[1] = weights
    return rows, amounts


def _counts(
    rows: npt.NDArray[np.intp], slots: Int64Array, weights: Int64Array | None, shape_of: Int64Array
) -> Int64Array:
    """Return how much weight lies in each (row, slot), an array of the same shape as ``shape_of``."""
    flat = np.bincount(rows * shape_of.shape[1] + slots, weights, shape_of.size)
    return flat.astype(np.int64).reshape(shape_of.shape)
