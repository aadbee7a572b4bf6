"""Rows of requests on their way from the request log to its readers: integers in columns, words as codes."""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from cluster_sim.recording.reasons import NO_REASON
from cluster_sim.workload.request import Request

Int64Array = npt.NDArray[np.int64]

ROW_FIELDS: Final = (
    "request_id",
    "session_id",
    "tenant",
    "model",
    "pool",
    "replica",
    "status",
    "arrival_ns",
    "dispatch_ns",
    "scheduled_ns",
    "first_token_ns",
    "finish_ns",
    "prompt_tokens",
    "output_tokens",
    "cached_tokens",
    "preemptions",
    "retries",
    "generated_tokens",
    "reason",
    "priority",
    "slo_class",
    "prefill_replica",
    "transfer_start_ns",
    "transfer_ns",
    "transfer_bytes",
    "attempts",
    "first_dispatch_ns",
    "prefilled_ns",
    "preempted_ns",
    "restarted_ns",
    "interrupted_ns",
    "encode_start_ns",
    "encoded_ns",
    "rank",
)
"""The integers of a row, in order; tenant, model, pool and slo_class are indices into the block's words, status into
``STATUSES``, reason into ``REASONS``, and -1 stands for null."""

NO_GAPS: Final = np.zeros((0, 3), np.int64)

FIELD: Final = {name: index for index, name in enumerate(ROW_FIELDS)}

FLEET_FIELDS: Final = ROW_FIELDS[ROW_FIELDS.index("prefill_replica") : ROW_FIELDS.index("first_dispatch_ns")]
"""The fields that are null where a fleet has no use for them; ``attempts`` is null before the first."""

TIMELINE_FIELDS: Final = ROW_FIELDS[ROW_FIELDS.index("first_dispatch_ns") :]
"""What a breakdown of the time of a request needs beside the other times; null where it does not apply.  No digest has
them.
"""

LATER_FIELDS: Final = FLEET_FIELDS + TIMELINE_FIELDS
"""The fields that tables of earlier releases may lack."""


class RequestRow(NamedTuple):
    """The end of one request.

    Times are ns as the router sees them, -1 for what never happened or does not apply.
    """

    request: Request
    status: str
    """One of ``STATUSES``."""
    replica: int = -1
    pool: str = ""
    dispatch_ns: int = -1
    scheduled_ns: int = -1
    first_token_ns: int = -1
    finish_ns: int = -1
    cached_tokens: int = 0
    preemptions: int = 0
    retries: int = 0
    generated_tokens: int = 0
    """Output tokens that its replica generated for it."""
    reason: str = NO_REASON
    """One of ``REASONS``: why it did not finish."""
    prefill_replica: int = -1
    """The replica that computed its prompt, where that was another one."""
    transfer_start_ns: int = -1
    """When its KV cache began to move between the two."""
    transfer_ns: int = -1
    transfer_bytes: int = -1
    attempts: int = -1
    """Dispatches to replicas, those of its prefill and decode counted singly."""
    first_dispatch_ns: int = -1
    """When it was first sent to a replica, if an attempt failed and ``dispatch_ns`` is that of a later one."""
    prefilled_ns: int = -1
    """When its prompt was computed by the replica that hands it over; time at the replica."""
    preempted_ns: int = -1
    """Gaps between tokens in which it was preempted, summed."""
    restarted_ns: int = -1
    """When its prompt was begun again after the last preemption before the first token; time at the replica."""
    interrupted_ns: int = -1
    """From the end of attempts that had begun its answer until the next token, summed."""
    encode_start_ns: int = -1
    """When its media were given to an encoder apart from the replicas."""
    encoded_ns: int = -1
    """When their embeddings are where prompts are computed, though its client may have given up before."""
    preemption_gaps_ns: tuple[int, ...] = ()
    """Start, end, start, end ... of what preemptions took, as in a response."""
    rank: int = -1
    """The data-parallel rank of its replica that it was at, if there are several."""


def gaps_since(gaps_ns: tuple[int, ...], begun_ns: int) -> tuple[int, ...]:
    """Return the gaps of a row or response that begin at or after a time."""
    pairs = zip(gaps_ns[::2], gaps_ns[1::2], strict=True)
    return tuple(time_ns for pair in pairs if pair[0] >= begun_ns for time_ns in pair)


class RowBlock(NamedTuple):
    """Some finished rows: ``rows`` is int64[n, len(ROW_FIELDS)], the word lists decode the columns of words."""

    rows: Int64Array
    tenants: Sequence[str]
    models: Sequence[str]
    pools: Sequence[str]
    slo_classes: Sequence[str] = ("",)
    gaps: Int64Array = NO_GAPS
    """What preemptions took of these requests, and perhaps of others: int64[m, 3], request id, start and end in ns."""

    def column(self, name: str) -> Int64Array:
        """Return one column of ``ROW_FIELDS`` as int64[n]."""
        column: Int64Array = self.rows[:, FIELD[name]]
        return column


class RowTotals(Protocol):
    """Running totals over rows, which a request log keeps up to date."""

    pools: tuple[str, ...]
    """Names of the pools; a row's pool is an index into them."""

    @property
    def requests(self) -> int:
        """The rows so far."""

    def add(self, block: RowBlock) -> None:
        """Add the rows of ``block``."""

    def snapshot(self) -> dict[str, Any]:
        """Return the whole state as plain data fit for msgpack."""

    def restore(self, state: dict[str, Any]) -> None:
        """Take back a state returned by ``snapshot``."""


RowSink = Callable[[RowBlock], None]
"""Takes the blocks, in order; it must not keep them."""
