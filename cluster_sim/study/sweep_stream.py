"""Table of a sweep that grows while runs end: whole at any time, and never far behind."""

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from cluster_sim.study.sweep_table import write_rows

MOST_SHARE: Final = 1 / 50
"""Largest share of wall time that writing the table takes."""


class RowStream:
    """Writes the rows that there are as one Parquet file, in the order of their runs.

    The file is replaced as a whole, so a reader finds a table whenever it looks, also after the sweep has been killed;
    it then lacks at most the runs of the last moments, which a resumed sweep knows from their own files.
    """

    def __init__(
        self, path: Path, rows: Mapping[int, dict[str, Any]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``rows`` are those of the runs that have ended, by their places; it is filled by its owner."""
        self._path = path
        self._rows = rows
        self._clock = clock
        self._due_s = clock()

    def note_end(self) -> None:
        """Note that one more run has ended: write the table if that is due."""
        if self._clock() >= self._due_s:
            self.write()

    def write(self) -> None:
        """Write the table."""
        started_s = self._clock()
        write_rows(list(self._in_order()), self._path)
        now_s = self._clock()
        self._due_s = now_s + (now_s - started_s) / MOST_SHARE

    def _in_order(self) -> Iterable[dict[str, Any]]:
        return (self._rows[place] for place in sorted(self._rows))
