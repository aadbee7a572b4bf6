"""Messages of a hand-over between the router and a replica."""

from typing import NamedTuple

from cluster_sim.serving.messages import Dispatch


class PrefillLeg(Dispatch):
    """To a prefill replica: a request whose prompt it computes; it keeps the blocks until they are released.

    It is answered by ``PrefillProgress`` instead of a response.
    """

    __slots__ = ()

    def fewest_batches(self, tokens_per_step: int) -> int:
        """Return 1: the prompt's step yields the only token."""
        return 1


class Reservation(Dispatch):
    """To a decode replica: a request whose prompt is computed elsewhere; it waits for blocks for all of it.

    It is answered by ``Granted``, without a batch, and once ``KvReady`` has come by a response.
    """

    __slots__ = ()

    def fewest_batches(self, tokens_per_step: int) -> int:
        """Return 0: no batch leads to an answer before more has come."""
        return 0


class KvReady(NamedTuple):
    """To a decode replica: the cache of a prompt is in the blocks that it has taken for it."""

    request_id: int
    attempt: int
    """Of the reservation."""
    computed_tokens: int
    """Tokens of the prompt that count as computed."""
    generated_tokens: int
    """Tokens of the answer that have come along, which the client gets as soon as the request runs."""


class Release(NamedTuple):
    """To a prefill replica: nobody needs the blocks of a prompt any more.  Never acknowledged."""

    request_id: int
    attempt: int
    """Of the prefill leg."""


class PrefillProgress(NamedTuple):
    """To the router: how far the prompt of a prefill leg is computed, fixed when the step is scheduled.

    It arrives when the step ends, later by the return link.
    """

    request_id: int
    attempt: int
    computed_tokens: int
    step_ns: int
    """How long the step took."""
    is_complete: bool
    """Whether the prompt is computed, and with it a first token."""
    scheduled_ns: int
    """As in a response, like the counts."""
    cached_tokens: int
    preemptions: int
    restarted_ns: int = -1
    preemption_gaps_ns: tuple[int, ...] = ()


class Granted(NamedTuple):
    """To the router: a decode replica has taken blocks for a whole prompt."""

    request_id: int
    attempt: int
    granted_ns: int
    """When, at the replica."""
    cached_tokens: int
    """Leading tokens of the prompt that its prefix cache had."""
