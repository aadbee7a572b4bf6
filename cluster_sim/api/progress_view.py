"""Progress of runs for callers of the Python interface: a bar in a notebook or on a terminal, nothing elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from html import escape
from typing import Any, Final, Protocol

from rich.console import Console

from cluster_sim.report.progress import RunProgress
from cluster_sim.report.terminal import TerminalView
from cluster_sim.simulation.view import RunView, SilentView

INTERVAL_S: Final = 0.2
"""Wall seconds between two updates of a bar in a notebook."""


class Handle(Protocol):
    """A place in a notebook's output."""

    def update(self, shown: object) -> None:
        """Show something else."""


class Html:
    """Text that a notebook shows as HTML."""

    def __init__(self, text: str) -> None:
        self._text = text

    def _repr_html_(self) -> str:
        return self._text


def notebook_display() -> Callable[..., Handle] | None:
    """Return IPython's function that makes a place in the output; None outside a notebook."""
    shell = sys.modules.get("IPython.core.getipython")
    display = sys.modules.get("IPython.display")
    running = shell.get_ipython() if shell is not None else None
    if display is None or running is None or not hasattr(running, "kernel"):
        return None
    show: Callable[..., Handle] = display.display
    return show


def view_of(progress: bool | None) -> RunView:
    """Return where a run is shown; ``progress`` None shows it in a notebook and on a terminal only."""
    if progress is False:
        return SilentView()
    show = notebook_display()
    if show is not None:
        return NotebookView(show)
    console = Console(stderr=True)
    return BarView(console) if progress or console.is_terminal else SilentView()


class BarView(TerminalView):
    """Shows the progress of a run on a console, and nothing at its end."""

    def finished(self, summary: dict[str, Any], notes: Sequence[str]) -> None:
        """Do nothing: the caller has the result."""


class NotebookView:
    """Shows the progress of a run in a notebook's output."""

    def __init__(self, show: Callable[..., Handle], clock: Callable[[], float] = time.monotonic) -> None:
        self._show = show
        self._clock = clock

    def progress(self, total_requests: int | None) -> AbstractContextManager[Callable[[int, int], None]]:
        """Return the context that shows the progress."""
        return self._progress(total_requests)

    @contextmanager
    def _progress(self, total_requests: int | None) -> Iterator[Callable[[int, int], None]]:
        words = RunProgress(Console(file=sys.stderr), total_requests, self._clock)
        place = self._show(Html(_bar(0.0, "starting")), display_id=True)
        shown_s = self._clock()

        def update(simulated_ns: int, requests_done: int) -> None:
            nonlocal shown_s
            if self._clock() - shown_s >= INTERVAL_S:
                shown_s = self._clock()
                share = requests_done / total_requests if total_requests else 0.0
                place.update(Html(_bar(share, words.line(simulated_ns, requests_done))))

        yield update
        place.update(Html(""))

    def finished(self, summary: dict[str, Any], notes: Sequence[str]) -> None:
        """Do nothing: the notebook shows the result that the cell returns."""


def _bar(share: float, text: str) -> str:
    return f'<progress value="{share:.3f}" max="1"></progress> {escape(text)}'
