"""Live table of several independent runs on a terminal: those at work, those that ended last, and the time left.

Where there is no terminal each run is one line when it ends.
"""

import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cluster_sim.report.task_progress import TaskProgress, time_text
from cluster_sim.shown_values import counted

MOST_AT_WORK: Final = 16
MOST_ENDED: Final = 8
"""Rows of runs at work, and of runs that ended."""
REFRESHES_PER_S: Final = 1


class TaskTable:
    """Shows how far several runs are; a context manager."""

    def __init__(self, console: Console, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._progress = TaskProgress(total, clock)
        self._at_work: dict[str, float] = {}
        """When each run was handed in, by its label."""
        self._ended: deque[tuple[str, str]] = deque(maxlen=MOST_ENDED)
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(
                get_renderable=self.shown, console=self._console, refresh_per_second=REFRESHES_PER_S, transient=True
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def keep(self, count: int) -> None:
        """Count runs that an earlier attempt has done."""
        self._progress.keep(count)

    def start(self, label: str) -> None:
        """Note that a run is handed in: it is at work, or the next where it is."""
        self._at_work[label] = self._clock()

    def end(self, label: str, result: str, *, is_instant: bool = False) -> None:
        """Note that a run has ended; ``is_instant`` tells that it took no time to speak of."""
        self._at_work.pop(label, None)
        self._ended.append((label, result))
        line = self._progress.line(label, result, is_instant=is_instant)
        if self._live is None:
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def shown(self) -> Group:
        """Return the table as it stands now."""
        head = f"{self._progress.head()}; {counted(len(self._at_work), 'run')} at work"
        table = Table(box=None, header_style="dim", pad_edge=False)
        table.add_column("run", no_wrap=True, overflow="ellipsis", ratio=2)
        table.add_column("", no_wrap=True, overflow="ellipsis", ratio=3)
        for label, result in self._ended:
            table.add_row(Text(label), Text(result))
        now_s = self._clock()
        shown = list(self._at_work.items())[:MOST_AT_WORK]
        for label, started_s in shown:
            table.add_row(Text(label, style="bold"), Text(f"at work, {time_text(now_s - started_s)}"))
        if len(shown) < len(self._at_work):
            table.add_row(Text(f"and {len(self._at_work) - len(shown)} more"), Text(""))
        return Group(Text(head), table)
