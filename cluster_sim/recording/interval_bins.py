"""Iterations and their tokens, counted by the interval of simulated time in which the iteration ended."""

from typing import Any

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]

_ITERATIONS, _PROMPT_TOKENS, _GENERATED_TOKENS = range(3)


class IntervalBins:
    """Sums over intervals ((k - 1) * ``interval_ns``, k * ``interval_ns``], kept from the first not yet taken.

    Iterations may be added long before their interval is taken; those of an interval already taken count in the next.
    """

    __slots__ = ("_base", "_bins", "interval_ns")

    def __init__(self, interval_ns: int) -> None:
        self.interval_ns = interval_ns
        self._base = 0
        self._bins: Int64Array = np.zeros((3, 0), np.int64)

    def add_steps(self, ends: Int64Array, prompts: Int64Array, generated: Int64Array) -> None:
        """Add single iterations by their ends in ns and the prompt and generated tokens of each."""
        slots = self._slots(ends)
        first, bins = self._view(slots)
        slots -= first
        size = bins.shape[1]
        bins[_ITERATIONS] += np.bincount(slots, minlength=size)
        bins[_PROMPT_TOKENS] += np.bincount(slots, prompts, size).astype(np.int64)
        bins[_GENERATED_TOKENS] += np.bincount(slots, generated, size).astype(np.int64)

    def add_runs(self, ends: Int64Array, lengths: Int64Array, weights: Int64Array) -> None:
        """Add decode runs of ``lengths`` iterations, each generating ``weights``[run] tokens.

        ``ends`` holds the ends of all runs in ns and rises: a replica's runs follow each other in time, so each tick
        cuts them at one place and no iteration need be looked at.
        """
        first, bins = self._view(self._slots(ends[[0, -1]]))
        ticks = (self._base + first + np.arange(bins.shape[1])) * self.interval_ns
        upto = np.searchsorted(ends, ticks, side="right").astype(np.int64)
        run_ends = np.cumsum(lengths)
        run = np.minimum(np.searchsorted(run_ends, upto, side="right"), len(lengths) - 1)
        tokens_before = np.cumsum(lengths * weights) - lengths * weights
        tokens = tokens_before[run] + (upto - (run_ends - lengths)[run]) * weights[run]
        bins[_ITERATIONS] += _steps_of(upto)
        bins[_GENERATED_TOKENS] += _steps_of(tokens)

    def take(self, times_ns: Int64Array) -> Int64Array:
        """Return int64[3, times]: iterations, prompt and generated tokens since the time before, and forget them.

        ``times_ns`` rise from call to call; there is at least one.
        """
        ticks = (times_ns + self.interval_ns - 1) // self.interval_ns
        slots = ticks - self._base
        width = int(slots[-1]) + 1
        cumulative = np.zeros((3, width + 1), np.int64)
        held = min(self._bins.shape[1], width)
        np.cumsum(self._bins[:, :held], axis=1, out=cumulative[:, 1 : held + 1])
        cumulative[:, held + 1 :] = cumulative[:, held : held + 1]
        self._bins = self._bins[:, width:].copy()
        self._base = int(ticks[-1]) + 1
        return np.stack([_steps_of(row) for row in cumulative[:, slots + 1]])

    def snapshot(self) -> dict[str, Any]:
        """Return the whole state as plain data fit for msgpack."""
        return {"base": self._base, "bins": self._bins.tobytes()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back a state returned by ``snapshot``."""
        self._base = state["base"]
        self._bins = np.frombuffer(state["bins"], np.int64).reshape(3, -1).copy()

    def _slots(self, ends: Int64Array) -> Int64Array:
        """Return the intervals, counted from the first one kept, that iterations ending at ``ends`` belong to."""
        slots: Int64Array = np.maximum((ends + (self.interval_ns - 1)) // self.interval_ns - self._base, 0)
        return slots

    def _view(self, slots: Int64Array) -> tuple[int, Int64Array]:
        """Return the first of ``slots`` and a view of the bins from it to the last, made where they are not yet."""
        first, end = int(slots.min()), int(slots.max()) + 1
        if end > self._bins.shape[1]:
            grown = np.zeros((3, end + 16), np.int64)
            grown[:, : self._bins.shape[1]] = self._bins
            self._bins = grown
        return first, self._bins[:, first:end]


def _steps_of(cumulative: Int64Array) -> Int64Array:
    """Return by how much each entry exceeds the one before, the first exceeding 0."""
    steps = cumulative.copy()
    steps[1:] -= cumulative[:-1]
    return steps
