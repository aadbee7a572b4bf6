"""Progress of a run: a bar on a terminal, a line every few seconds elsewhere."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from cluster_sim.report.result_tables import duration_text
from cluster_sim.shown_values import counted
from cluster_sim.units import NS_PER_S

LOG_INTERVAL_S: Final = 5.0
"""Wall seconds between two lines if there is no terminal."""
BAR_INTERVAL_S: Final = 0.2
"""Wall seconds between two updates of the bar."""


class RunProgress:
    """Shows simulated time, requests done, speed-up over real time and the time left; a context manager.

    ``total_requests`` is None if the number is unknown; then no time left is shown.  ``update`` may be called often: it
    reads the clock and mostly returns.
    """

    def __init__(
        self,
        console: Console,
        total_requests: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._total = total_requests
        self._clock = clock
        self._started_s = self._shown_s = clock()
        self._interval_s = BAR_INTERVAL_S if console.is_terminal else LOG_INTERVAL_S
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._started_s = self._shown_s = self._clock()
        if self._console.is_terminal:
            self._bar = Progress(
                BarColumn(),
                TextColumn("{task.description}"),
                TimeElapsedColumn(),
                console=self._console,
                transient=True,
                # A thread that redraws on its own would take time from the simulation.
                auto_refresh=False,
            )
            self._bar.start()
            self._task = self._bar.add_task(self.line(0, 0), total=self._total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def update(self, simulated_ns: int, requests_done: int) -> None:
        """Show how far the run is, unless that was shown a moment ago."""
        now_s = self._clock()
        if now_s - self._shown_s < self._interval_s:
            return
        self._shown_s = now_s
        line = self.line(simulated_ns, requests_done)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=requests_done, description=line, refresh=True)
        else:
            self._console.print(line, highlight=False, soft_wrap=True)

    def line(self, simulated_ns: int, requests_done: int) -> str:
        """Return the state in one line."""
        wall_s = self._clock() - self._started_s
        simulated_s = simulated_ns / NS_PER_S
        parts = [f"simulated {duration_text(simulated_s)}", self._requests(requests_done)]
        if wall_s > 0.0:
            parts.append(f"{simulated_s / wall_s:,.1f} x real time")
            if requests_done and self._total is not None:
                left_s = wall_s * max(self._total - requests_done, 0) / requests_done
                parts.append(f"{left_s:,.0f} s left")
        return ", ".join(parts)

    def _requests(self, done: int) -> str:
        if self._total is None:
            return counted(done, "request")
        return f"{done:,} of {counted(self._total, 'request')}"
