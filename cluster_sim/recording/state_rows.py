"""States of a replica at the ticks of its time series.

A replica that nothing has reached has no rows: they would all be the same.  Its ticks are only counted, until something
reaches it after all.
"""

from struct import Struct
from typing import Final

import numpy as np
import numpy.typing as npt

from cluster_sim.recording.note_buffer import NoteBuffer
from cluster_sim.recording.series_columns import EVENT_COLUMNS, STATE_COLUMNS

Int64Array = npt.NDArray[np.int64]

_FIELDS: Final = len(STATE_COLUMNS) + len(EVENT_COLUMNS)
_ROW: Final = Struct(f"{_FIELDS}q")


class StateRows:
    """Rows of one replica that have not been taken yet; of each the state, and the cumulative counts of events."""

    __slots__ = ("_last_events", "_rows", "_untouched")

    def __init__(self) -> None:
        self._rows = NoteBuffer()
        self._last_events = np.zeros(len(EVENT_COLUMNS), np.int64)
        self._untouched: list[tuple[int, int, int]] = []
        """(first tick, interval, ticks) before something reached the replica."""

    def wait(self, first_ns: int, interval_ns: int, count: int) -> None:
        """Take in ticks at which nothing has reached the replica yet."""
        self._untouched.append((first_ns, interval_ns, count))

    def add(self, tick_ns: int, state: tuple[int, int, int], events: tuple[int, ...]) -> None:
        """Add the row of a tick."""
        if self._untouched:
            self._fill()
        rows = self._rows
        first = rows.reserve(_FIELDS)
        # One by one, since compiled code spreads tuples by way of a list.
        running, waiting, used = state
        preemptions, queries, hits, loaded_queries, loaded_hits, drafts, draft_tokens, accepted = events
        _ROW.pack_into(
            rows.memory, 8 * first, tick_ns, running, waiting, used,
            preemptions, queries, hits, loaded_queries, loaded_hits, drafts, draft_tokens, accepted,
        )  # fmt: skip

    def add_equal(
        self, first_ns: int, interval_ns: int, count: int, state: tuple[int, int, int], events: tuple[int, ...]
    ) -> None:
        """Add the rows of ``count`` ticks that all show the same."""
        if self._untouched:
            self._fill()
        self._add_block(first_ns, interval_ns, count, (*state, *events))

    def take(self, *, is_touched: bool) -> dict[str, Int64Array]:
        """Return the rows since the last call, and forget them; none while nothing has reached the replica."""
        if is_touched and self._untouched:
            self._fill()
        rows = self._rows.values.reshape(-1, _FIELDS)
        columns = {name: rows[:, at].copy() for at, name in enumerate(STATE_COLUMNS)}
        events = np.concatenate([self._last_events[None], rows[:, len(STATE_COLUMNS) :]])
        self._last_events = events[-1].copy()
        self._rows.clear()
        return columns | dict(zip(EVENT_COLUMNS, np.diff(events, axis=0).T.copy(), strict=True))

    def _fill(self) -> None:
        untouched, self._untouched = self._untouched, []
        for first_ns, interval_ns, count in untouched:
            self._add_block(first_ns, interval_ns, count, (0,) * (_FIELDS - 1))

    def _add_block(self, first_ns: int, interval_ns: int, count: int, row: tuple[int, ...]) -> None:
        block = np.empty((count, _FIELDS), np.int64)
        block[:, 0] = first_ns + interval_ns * np.arange(count)
        block[:, 1:] = row
        self._rows.extend(block.reshape(-1))
