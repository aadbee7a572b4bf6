"""Outcome of a request, as the replica reports it to the hub."""

from typing import Final, NamedTuple

FINISHED: Final = "finished"
REFUSED: Final = "refused"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"
SHED: Final = "shed"
UNFINISHED: Final = "unfinished"

STATUSES: Final = (FINISHED, REFUSED, FAILED, CANCELLED, SHED, UNFINISHED)
"""Every status a row of ``requests.parquet`` may have."""


class Outcome(NamedTuple):
    """The columns of a response, fixed when the request's last iteration is formed.

    Times are at the hub, return link included; -1 where a thing never happened.
    """

    request_id: int
    attempt: int
    status: str
    scheduled_ns: int
    """First time in a formed batch (at the replica: no link added)."""
    first_token_ns: int
    finish_ns: int
    cached_tokens: int
    """Prompt tokens found in the prefix cache at the first admission."""
    preemptions: int


class Sample(NamedTuple):
    """What telemetry shows of one replica at a sampling instant."""

    replica: int
    running: int
    waiting: int
    kv_used_ratio: float
