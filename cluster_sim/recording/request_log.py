"""One row per request that has ended, kept as columns and handed on in blocks.

Design.  ``add`` appends a row's integers to one flat buffer and does nothing else: no object per row, no list per
column.  Words (tenant, model, pool, status) become codes at once.  Every ``block_rows`` rows the buffer turns into a
two-dimensional array without a copy, goes into the running totals and to the sinks (the Parquet writer, the digest),
and is forgotten: memory does not grow with the number of requests.
"""

from collections.abc import Sequence
from struct import Struct
from typing import Final

import numpy as np
import numpy.typing as npt

from cluster_sim.recording.reasons import REASONS
from cluster_sim.recording.rows import ROW_FIELDS, RequestRow, RowBlock, RowSink, RowTotals
from cluster_sim.recording.statuses import STATUSES
from cluster_sim.workload.request import NO_ATTRIBUTES

Int64Array = npt.NDArray[np.int64]

BLOCK_ROWS: Final = 16_384
"""Rows of a block."""

_ROW: Final = Struct(f"{len(ROW_FIELDS)}q")
"""Packs a row in a third of the time that an array takes to be extended by one."""
_REASON_CODE: Final = {reason: code for code, reason in enumerate(REASONS)}
_STATUS_CODE: Final = {status: code for code, status in enumerate(STATUSES)}


class Words:
    """A growing list of words with their codes, 0, 1, 2 ... in order of first appearance."""

    def __init__(self, words: Sequence[str] = ()) -> None:
        self.words: list[str] = []
        self._codes: dict[str, int] = {}
        for word in words:
            self.code(word)

    def code(self, word: str) -> int:
        """Return the code of ``word``, a new one when it is new."""
        code = self._codes.get(word)
        if code is None:
            code = self._codes[word] = len(self.words)
            self.words.append(word)
        return code


class RequestLog:
    """Takes every request that has ended, exactly once, in any order.

    ``default_model`` is what a request without a model asked for.  ``totals`` is up to date after ``flush`` or
    ``refresh_totals``.
    """

    def __init__(
        self,
        totals: RowTotals,
        sinks: Sequence[RowSink] = (),
        default_model: str = "",
        block_rows: int = BLOCK_ROWS,
    ) -> None:
        self.totals = totals
        self._sinks = tuple(sinks)
        self._default_model = default_model
        self._tenants = Words([""])
        self._models = Words([default_model])
        self._slo_classes = Words([""])
        self._pools = totals.pools
        self._pool_codes = {"": -1} | {pool: code for code, pool in enumerate(totals.pools)}
        self._limit = block_rows * _ROW.size
        self._buffer = bytearray()
        self._counted = 0
        self._gaps: list[int] = []
        """Request id, start and end of what preemptions took, one after the other."""

    def add(self, row: RequestRow) -> None:
        """Take a row."""
        request, status, replica, pool, dispatch, scheduled, first, finish, cached, preemptions = row[:10]
        retries, generated, reason, *of_fleet, gaps_ns, rank = row[10:]
        session_id = -1
        tenant = model = priority = slo_class = 0
        attributes = request.attributes
        if attributes is not NO_ATTRIBUTES:
            session_id = attributes.session_id
            tenant = self._tenants.code(attributes.tenant)
            model = self._models.code(attributes.model or self._default_model)
            priority = attributes.priority
            slo_class = self._slo_classes.code(attributes.slo_class)
        buffer = self._buffer
        buffer.extend(
            _ROW.pack(
                request.request_id,
                session_id,
                tenant,
                model,
                self._pool_codes[pool],
                replica,
                _STATUS_CODE[status],
                request.arrival_ns,
                dispatch,
                scheduled,
                first,
                finish,
                request.prompt_tokens,
                request.output_tokens,
                cached,
                preemptions,
                retries,
                generated,
                _REASON_CODE[reason],
                priority,
                slo_class,
                *of_fleet,
                rank,
            )
        )
        for place in range(0, len(gaps_ns), 2):
            self._gaps += (request.request_id, gaps_ns[place], gaps_ns[place + 1])
        if len(buffer) >= self._limit:
            self.flush()

    @property
    def rows(self) -> int:
        """How many rows it has taken, those of earlier lives of the run included."""
        return self.totals.requests + len(self._buffer) // _ROW.size - self._counted

    def add_pools(self, pools: Sequence[str]) -> None:
        """Take in the names of pools that no row is of so far."""
        for pool in pools:
            self._pool_codes[pool] = len(self._pools)
            self._pools = (*self._pools, pool)

    def refresh_totals(self) -> None:
        """Bring the totals up to the last row without handing rows on."""
        rows = np.frombuffer(self._buffer[self._counted * _ROW.size :], np.int64).reshape(-1, len(ROW_FIELDS))
        if len(rows):
            self.totals.add(self._block(rows))
            self._counted += len(rows)

    def flush(self) -> None:
        """Hand the rows held to the totals and the sinks, and forget them."""
        rows = np.frombuffer(self._buffer, np.int64).reshape(-1, len(ROW_FIELDS))
        self._buffer = bytearray()
        counted, self._counted = self._counted, 0
        gaps, self._gaps = np.array(self._gaps, np.int64).reshape(-1, 3), []
        if not len(rows):
            return
        self.totals.add(self._block(rows[counted:]))
        block = self._block(rows)._replace(gaps=gaps)
        for sink in self._sinks:
            sink(block)

    def _block(self, rows: Int64Array) -> RowBlock:
        return RowBlock(rows, self._tenants.words, self._models.words, self._pools, self._slo_classes.words)
