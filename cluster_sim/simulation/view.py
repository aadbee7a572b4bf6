"""View of a run while it goes on and at its end: an interface, so that running knows nothing of showing."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

ProgressSink = Callable[[int, int], None]
"""Takes (simulated time in ns, requests done); called often."""


class RunView(Protocol):
    """Where a run is shown."""

    def progress(self, total_requests: int | None) -> AbstractContextManager[ProgressSink]:
        """Return the context of the run; ``total_requests`` is None if their number is not known."""

    def finished(self, summary: dict[str, Any], notes: Sequence[str]) -> None:
        """Show the results, with lines about the run itself."""


class SilentView:
    """Shows nothing: the caller reads the result itself."""

    def progress(self, total_requests: int | None) -> AbstractContextManager[ProgressSink]:
        """Return a context whose sink drops the progress."""
        del total_requests
        return nullcontext(drop_progress)

    def finished(self, summary: dict[str, Any], notes: Sequence[str]) -> None:
        """Do nothing."""


def drop_progress(simulated_ns: int, requests_done: int) -> None:
    """Drop the progress of a run."""
    del simulated_ns, requests_done
