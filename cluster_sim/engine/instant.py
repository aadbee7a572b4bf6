"""Instants: a simulated time and an event kind packed into one integer.

Every horizon, output time and event order in the engine is a pair (time, kind) compared strictly.  One Python integer,
``time_ns << KIND_BITS | kind``, orders exactly like the pair, costs one comparison, and fits a signed 64-bit field on
the wire for runs of up to 2.2 simulated years.
"""

from typing import Final

KIND_BITS: Final = 7
KIND_MASK: Final = (1 << KIND_BITS) - 1

Instant = int
"""A pair (time in ns, kind), packed; see the module's text."""

NEVER: Final[Instant] = (1 << 63) - 1
"""Later than every instant of a run."""


class Kind:
    """The published order of events at equal times: a smaller kind happens first.

    A message between processes that may take no time has a larger kind than the event that sends it; a hub handler of
    kind 54 or more sends only kinds of 56 or more.  Within one (time, kind) the order is (source, sequence).
    """

    RUN_END: Final = 0
    ARRIVAL: Final = 5
    STAGE_END: Final = 10
    BATCH_END: Final = 20
    FAULT: Final = 22
    SAMPLE: Final = 24
    RESPONSE: Final = 30
    RESET: Final = 31
    NOTICE: Final = 32
    TIMER: Final = 36
    GLOBAL_SCHEDULE: Final = 40
    CANCELLATION: Final = 50
    DELIVERY: Final = 52
    GRANT: Final = 54
    KV_READY: Final = 56
    REPLICA_SCHEDULE: Final = 60
    STAGE_ARRIVAL: Final = 70
    STAGE_SCHEDULE: Final = 80


def instant(time_ns: int, kind: int) -> Instant:
    """Return the instant of ``kind`` at ``time_ns``."""
    return time_ns << KIND_BITS | kind


def answer_at(moment: Instant, return_ns: int) -> Instant:
    """Return when an answer without a batch, given in an event at ``moment``, reaches the hub.

    It comes a return link later; without one, an event whose kind is not below a grant's is answered 1 ns later, since
    the hub may be past this time's grants.
    """
    late_ns = 1 if not return_ns and moment & KIND_MASK >= Kind.GRANT else return_ns
    return instant((moment >> KIND_BITS) + late_ns, Kind.GRANT)


def time_of(moment: Instant) -> int:
    """Return the time of an instant in ns."""
    return moment >> KIND_BITS


def kind_of(moment: Instant) -> int:
    """Return the kind of an instant."""
    return moment & KIND_MASK
