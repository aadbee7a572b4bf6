"""Rows of requests as they pass from the request log to whatever reads them: integers in columns, words as codes."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

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
)
"""The integers of a row, in order; tenant, model and pool are indices into the block's words, status into ``STATUSES``,
and -1 stands for what never happened or does not apply."""

FIELD: Final = {name: at for at, name in enumerate(ROW_FIELDS)}


class RowBlock(NamedTuple):
    """Some finished rows: ``rows`` is int64[n, len(ROW_FIELDS)], the word lists decode tenant, model and pool."""

    rows: Int64Array
    tenants: Sequence[str]
    models: Sequence[str]
    pools: Sequence[str]

    def column(self, name: str) -> Int64Array:
        """Return one column of ``ROW_FIELDS`` as int64[n]."""
        column: Int64Array = self.rows[:, FIELD[name]]
        return column


RowSink = Callable[[RowBlock], None]
"""What takes the blocks, in order; it must not keep them."""
