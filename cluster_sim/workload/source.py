"""Interfaces of the sources of requests."""

from collections.abc import Iterator
from typing import Any, Final, Protocol, runtime_checkable

from cluster_sim.workload.request import Request

SERVED: Final = "finished"
"""The status, among those of ``recording.statuses``, after which a client goes on."""


@runtime_checkable
class RequestSource(Protocol):
    """An open-loop source: it produces requests lazily and knows nothing of how they fare."""

    def chunks(self) -> Iterator[list[Request]]:
        """Yield requests in lists of bounded size (about 4,096), arrival times never decreasing, ids 0, 1, 2 ..."""


@runtime_checkable
class FeedbackSource(Protocol):
    """A closed-loop source: later requests depend on when earlier ones end (users, sessions, agents).

    ``think_floor_ns`` is the least time between an end and the request it causes: it is the hub's lookahead.
    """

    think_floor_ns: int

    def initial(self) -> Iterator[list[Request]]:
        """Yield the requests that depend on nothing, as ``RequestSource.chunks`` does."""

    def on_end(self, request: Request, now_ns: int, status: str) -> list[Request]:
        """Return the requests caused by the end of ``request`` at ``now_ns``, each arriving at or after
        ``now_ns + think_floor_ns``.  Ids must not depend on the order of calls at different times: derive them from the
        session and turn.
        """


@runtime_checkable
class ResumableSource(FeedbackSource, Protocol):
    """A feedback source of a run that can be resumed."""

    def snapshot(self) -> Any:
        """Return what the ends of requests have changed, in a form that snapshots hold (``cluster_sim.snapshot``)."""

    def restore(self, state: Any) -> None:
        """Take back what ``snapshot`` returned; called when ``initial`` has yielded as much as it had then."""
