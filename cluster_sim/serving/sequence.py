"""A request as a replica holds it."""

from typing import Final

from cluster_sim.workload.request import Request

_ID_BITS: Final = 48
"""Bits of a key below the number of the attempt."""


def key_of(request_id: int, attempt: int) -> int:
    """Return the key of an attempt: the request's id for the first."""
    return attempt << _ID_BITS | request_id


class Sequence:
    """The replica-side state of one request.

    There is no prefill or decode mode: a sequence has ``known_tokens`` (prompt and generated) and ``computed`` ones,
    and a step moves ``computed`` towards ``known_tokens``.  When they meet, the step yields one more token.  Counters
    move when a batch is *scheduled*: ``generated`` therefore includes tokens still in flight.
    """

    __slots__ = (
        "attempt",
        "base",
        "cached_tokens",
        "computed",
        "first_token_ns",
        "generated",
        "is_timed",
        "key",
        "kv",
        "last_step",
        "last_token_ns",
        "leg",
        "loaded_tokens",
        "noted_preemptions",
        "order",
        "output_tokens",
        "own_output",
        "preempted_ns",
        "preemption_gaps_ns",
        "preemptions",
        "prompt_tokens",
        "rank",
        "ready_ns",
        "request",
        "request_id",
        "restarted_ns",
        "resumed_ns",
        "resumed_tokens",
        "scheduled_ns",
        "skipped_blocks",
        "stored_tokens",
        "transferred_tokens",
    )

    def __init__(self, request: Request, attempt: int, ready_ns: int, resumed_tokens: int = 0) -> None:
        """``resumed_tokens`` of the output were generated elsewhere: they are computed with the prompt."""
        self.request = request
        self.request_id = request.request_id
        self.attempt = attempt
        self.key = request.request_id if not attempt else key_of(request.request_id, attempt)
        """What the scheduler knows it by: several attempts of one request may be here at once."""
        self.own_output = -1
        """Name of what it generates, if another attempt at the same tokens is here; see ``content_of``."""
        self.resumed_tokens = resumed_tokens
        self.prompt_tokens = request.prompt_tokens + resumed_tokens
        self.output_tokens = request.output_tokens - resumed_tokens
        self.ready_ns = ready_ns
        self.computed = 0
        self.generated = 0
        self.skipped_blocks = 0
        """Leading blocks that each windowed KV cache group has given back; a windowed decode pool keeps it itself."""
        self.kv: object = None
        """Free for the KV cache's own marks."""
        self.rank = -1
        """The data-parallel rank that takes it; -1 if nobody has chosen one."""
        self.stored_tokens = 0
        """Leading tokens of the prompt that the shared KV store holds."""
        self.leg = 0
        """Its part in a hand-over (``serving.handover.legs.Leg``); 0 if it has none."""
        self.order = 0
        """Admission number: the running list is sorted by it, its tail is the first victim."""
        self.base = 0
        """In a decode pool: computed minus the pool's step."""
        self.last_step = 0
        """In a decode pool: the pool step that yields the last token."""
        self.scheduled_ns = -1
        self.first_token_ns = -1
        self.last_token_ns = -1
        self.resumed_ns = -1
        """When it got the first token after the last preemption."""
        self.cached_tokens = 0
        self.is_timed = not resumed_tokens
        """Whether its client gets its first token here: no rest of an answer has it, nor a prompt for others."""
        self.loaded_tokens = 0
        """Of ``cached_tokens``, those that came from behind the device: host memory, or a shared store."""
        self.transferred_tokens = 0
        """Tokens of the prompt that another replica has computed."""
        self.preemptions = 0
        self.preempted_ns = 0
        """Gaps between tokens in which it was preempted, summed."""
        self.preemption_gaps_ns: tuple[int, ...] = ()
        """Start, end, start, end ... of what preemptions took, as in a response."""
        self.restarted_ns = -1
        """When its prompt was begun again after the last preemption before the first token."""
        self.noted_preemptions = 0
        """Preemptions after which that has been noted."""

    @property
    def known_tokens(self) -> int:
        """Prompt and generated tokens: what must be computed to yield the next one."""
        return self.prompt_tokens + self.generated

    def __repr__(self) -> str:
        return (
            f"Sequence({self.request_id}, prompt={self.prompt_tokens}, computed={self.computed}, "
            f"generated={self.generated}/{self.output_tokens})"
        )
