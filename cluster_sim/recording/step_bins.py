"""Figures of engine iterations, summed by the interval of simulated time in which the iteration ended."""

from typing import Final

import numpy as np
import numpy.typing as npt

from cluster_sim.recording import buckets
from cluster_sim.recording.exact_sums import sums_by_group
from cluster_sim.recording.interval_bins import IntervalBins, counts_by_slot

Int64Array = npt.NDArray[np.int64]

GAP_BOUNDS_NS: Final = buckets.nanoseconds(buckets.TOKEN_GAP_S)
ITERATION_BOUNDS: Final = np.array(buckets.ITERATION_TOKENS, np.int64)

ITERATIONS, PROMPT_TOKENS, GENERATED_TOKENS, GAP_SUM_NS = range(4)
GAP_COUNTS: Final = slice(4, 5 + len(GAP_BOUNDS_NS))
ITERATION_COUNTS: Final = slice(GAP_COUNTS.stop, GAP_COUNTS.stop + 1 + len(ITERATION_BOUNDS))
ROWS: Final = ITERATION_COUNTS.stop
"""Figures kept: iterations, prompt and generated tokens, the sum of token gaps, vLLM's histograms of token gaps and of
tokens per iteration (``iteration_tokens``)."""


class StepBins(IntervalBins):
    """Figures of iterations by the interval of their end."""

    __slots__ = ()

    def __init__(self, interval_ns: int) -> None:
        super().__init__(interval_ns, ROWS)

    def add_steps(
        self,
        ends: Int64Array,
        gaps: Int64Array,
        weights: Int64Array,
        prompts: Int64Array,
        generated: Int64Array,
        prefilled: Int64Array,
    ) -> None:
        """Add single iterations by their ends in ns; ``weights`` requests of each got a token after ``gaps`` ns.

        ``prompts`` are tokens computed, ``prefilled`` those of the whole prompts that an iteration completes.
        """
        first, slots, sums = self._begin(ends)
        size = sums.shape[1]
        sums[ITERATIONS] = np.bincount(slots, minlength=size)
        sums[PROMPT_TOKENS] = np.bincount(slots, prompts, size)
        sums[GENERATED_TOKENS] = np.bincount(slots, generated, size)
        # vLLM observes steps that put out a token: those tokens, and the prompts whose first tokens are among them.
        has_output = generated > 0
        tokens = np.searchsorted(ITERATION_BOUNDS, (prefilled + generated)[has_output], side="left")
        sums[ITERATION_COUNTS] = counts_by_slot(tokens, slots[has_output], None, sums[ITERATION_COUNTS])
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
            sums[GAP_COUNTS] += counts_by_slot(cut, self._slots(ends[is_cut]) - first, cut_weights, sums[GAP_COUNTS])
        self._end(first, sums)

    def _add_gaps(self, sums: Int64Array, slots: Int64Array, gaps: Int64Array, weights: Int64Array) -> None:
        high, low = sums_by_group(slots, gaps * weights, sums.shape[1])
        sums[GAP_SUM_NS] = (high << 32) + low
        sums[GAP_COUNTS] = counts_by_slot(
            np.searchsorted(GAP_BOUNDS_NS, gaps, side="left"), slots, weights, sums[GAP_COUNTS]
        )


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
