"""Contract of the hub, the process in the middle of the star."""

from typing import Final, NamedTuple, Protocol

from cluster_sim.engine.instant import Instant
from cluster_sim.engine.observation import Observation
from cluster_sim.engine.process import Message

ANSWERED_AT_ONCE: Final = -1
"""``Send.batches`` of a message that its receiver may answer at its delivery, with kind ``GRANT``."""


class Send(NamedTuple):
    """A message of the hub to one process, with its effect on the process's bound."""

    receiver: int
    """Source number of the process."""
    message: Message
    batches: int
    """Fewest batches before this message can cause a response (prefill chunks and decode steps at their best);
    0 when it causes none by itself, as a cancellation; ``ANSWERED_AT_ONCE`` when an answer needs no batch."""


class Hub(Protocol):
    """The hub: it owns every event that no other process does."""

    observation: Observation

    def next_event(self) -> Instant:
        """Return the instant of the hub's earliest event, or ``NEVER``."""

    def needed(self, event: Instant) -> Instant:
        """Return the instant that every process must have passed before the hub handles its next event, at ``event``.

        At most ``event``; 0 if none is needed.  Asked only if the observation says that it ``gates``.
        """

    def next_send(self) -> Instant:
        """Return the earliest instant at which a known event may make the hub send something."""

    def handle(self) -> list[Send]:
        """Handle the earliest event and return what it sends, each at or above the ``next_send`` before it."""

    def absorb(self, messages: list[Message]) -> None:
        """Take messages of processes; those whose instant matters become events, the rest is kept for ``settle``."""

    def settle(self) -> None:
        """Do work that nobody waits for (rows, digests) while the processes are busy anyway."""
