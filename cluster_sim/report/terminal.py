"""Terminal view of a run: its progress, then its tables."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from rich.console import Console

from cluster_sim.report.console import make_console
from cluster_sim.report.estimate_table import print_estimate
from cluster_sim.report.progress import RunProgress
from cluster_sim.report.result_tables import print_report


class TerminalView:
    """Shows a run on a console."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or make_console()

    def progress(self, total_requests: int | None) -> AbstractContextManager[Callable[[int, int], None]]:
        """Return the context that shows the run's progress."""
        return self._progress(total_requests)

    @contextmanager
    def _progress(self, total_requests: int | None) -> Iterator[Callable[[int, int], None]]:
        with RunProgress(self._console, total_requests) as progress:
            yield progress.update

    def finished(self, summary: dict[str, Any], notes: Sequence[str]) -> None:
        """Print the tables and the notes."""
        print_run = print_estimate if summary.get("detail") == "estimate" else print_report
        print_run(self._console, summary, notes)
