"""The measured window of a run: what the warm-up leaves out, and where measuring ends.

A request belongs to the window in which it arrives.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from cluster_sim.metrics.request_totals import RequestTotals
from cluster_sim.recording.rows import RowBlock
from cluster_sim.recording.statuses import FINISHED, STATUSES
from cluster_sim.units import NS_PER_S

Int64Array = npt.NDArray[np.int64]

NONE: Final = "none"
TIME: Final = "time"
REQUESTS: Final = "requests"
AUTO: Final = "auto"

_FINISHED_CODE: Final = STATUSES.index(FINISHED)


class PhaseRule(NamedTuple):
    """How a part of a run ends: its kind, and the length that kind needs."""

    kind: str = NONE
    duration_ns: int = 0
    requests: int = 0


class WindowRule(NamedTuple):
    """What a study says about the measured window."""

    warmup: PhaseRule = PhaseRule()
    measure: PhaseRule = PhaseRule()

    @property
    def is_whole_run(self) -> bool:
        """Whether nothing is left out."""
        return self.warmup.kind == NONE == self.measure.kind


class Window(NamedTuple):
    """Simulated time from ``start_ns`` up to and without ``end_ns``."""

    start_ns: int
    end_ns: int

    @property
    def duration_s(self) -> float:
        """Its length."""
        return (self.end_ns - self.start_ns) / NS_PER_S

    def holds(self, times_ns: Int64Array) -> npt.NDArray[np.bool_]:
        """Return which times lie in it."""
        return (times_ns >= self.start_ns) & (times_ns < self.end_ns)

    def part_of(self, block: RowBlock) -> RowBlock:
        """Return the rows that arrive in it."""
        return block._replace(rows=block.rows[self.holds(block.column("arrival_ns"))])


class Measured(NamedTuple):
    """What the figures of a summary cover."""

    window: Window
    totals: RequestTotals
    """Of the requests that arrive in the window."""
    completions: int
    """Requests that finish within the window."""
    prefilled_tokens: int
    """Tokens of the prompts whose first token comes within the window."""
    generated_tokens: int
    """Tokens generated within the window, for whichever request."""
    useful_tokens: Int64Array
    """int64[pools, 2]: the same prompt and generated tokens, of finished requests by pool."""
    warmup: str = NONE
    """How the window's start was found."""
    measure: str = NONE
    """How its end was found."""


def find_window(rule: WindowRule, totals: RequestTotals, end_ns: int, arrivals: Callable[[], Int64Array]) -> Window:
    """Return the window of a run that ended at ``end_ns``; ``arrivals`` gives all arrivals in ns, sorted.

    The warm-up of kind auto is found by MSER-5 and is empty where that cannot tell; a measured part of kind auto ends
    with the last arrival, so that the fleet's running dry is left out, and with the run where nothing arrives over
    time: a burst is all filling and running dry.  What happens in a run's last instant is measured.
    """
    warmup, measure = rule
    end_ns = max(end_ns, totals.last_arrival_ns + 1, totals.last_completion_ns + 1)
    start_ns = 0
    if warmup.kind == TIME:
        start_ns = warmup.duration_ns
    elif warmup.kind == REQUESTS:
        start_ns = _arrival(arrivals(), warmup.requests, end_ns)
    elif warmup.kind == AUTO:
        start_ns = totals.batch_means.warm_up_ns() or 0
    stop_ns = end_ns
    if measure.kind == TIME:
        stop_ns = start_ns + measure.duration_ns
    elif measure.kind == REQUESTS:
        all_ns = arrivals()
        stop_ns = _arrival(all_ns, int(np.searchsorted(all_ns, start_ns)) + measure.requests, end_ns)
    elif measure.kind == AUTO and totals.first_arrival_ns < totals.last_arrival_ns > start_ns:
        stop_ns = totals.last_arrival_ns + 1
    stop_ns = min(stop_ns, end_ns)
    return Window(min(start_ns, stop_ns), stop_ns)


def _arrival(arrivals_ns: Int64Array, number: int, end_ns: int) -> int:
    """Return when request ``number``, counted from 0, arrives; the end of the run if there are fewer."""
    return arrivals_ns.item(number) if number < len(arrivals_ns) else end_ns


class WindowTotals:
    """Totals over all rows for one window."""

    def __init__(self, window: Window, totals: RequestTotals) -> None:
        """``totals`` is empty and takes the rows that arrive in the window."""
        self._window = window
        self._totals = totals
        self._completions = 0
        self._tokens = np.zeros(2, np.int64)
        self._useful_tokens = np.zeros((len(totals.pools), 2), np.int64)

    def add(self, block: RowBlock) -> None:
        """Add the rows of ``block``, in the window or not."""
        window = self._window
        self._totals.add(window.part_of(block))
        is_finished = block.column("status") == _FINISHED_CODE
        self._completions += int((is_finished & window.holds(block.column("finish_ns"))).sum())
        pool = block.column("pool")
        for index, tokens in enumerate((prompts_within(block, window), tokens_within(block, window))):
            self._tokens[index] += tokens.sum()
            for number in range(len(self._useful_tokens)):
                self._useful_tokens[number, index] += tokens[is_finished & (pool == number)].sum()

    def measured(self, rule: WindowRule) -> Measured:
        """Return what the window covers."""
        prefilled, generated = self._tokens.tolist()
        kinds = (rule.warmup.kind, rule.measure.kind)
        return Measured(
            self._window, self._totals, self._completions, prefilled, generated, self._useful_tokens, *kinds
        )


def prompts_within(block: RowBlock, window: Window) -> Int64Array:
    """Return by row the tokens of its prompt, if its first token comes within a window."""
    return block.column("prompt_tokens") * window.holds(block.column("first_token_ns"))


def tokens_within(block: RowBlock, window: Window) -> Int64Array:
    """Return by row the tokens generated within a window, evenly spaced from its first to its last."""
    first_ns, finish_ns = block.column("first_token_ns"), block.column("finish_ns")
    count = np.where(first_ns >= 0, block.column("generated_tokens"), 0)
    last_ns = np.where(finish_ns < first_ns, window.end_ns, finish_ns)
    gap_ns = np.maximum((last_ns - first_ns) / np.maximum(count - 1, 1), 1.0)
    # Token j comes at first + j gap: as many come before an instant as there are whole gaps up to it, and one.
    before_start, before_end = (
        np.clip(np.ceil((edge_ns - first_ns) / gap_ns), 0, count) for edge_ns in (window.start_ns, window.end_ns)
    )
    tokens: Int64Array = (before_end - before_start).astype(np.int64)
    return tokens
