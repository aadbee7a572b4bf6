"""Records of single requests, as benchmarks write them: what their readers have in common.

A failed request is skipped and counted; requests come in order of their start, whichever way the file has them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from cluster_sim.errors import InputError
from cluster_sim.shown_values import by_number
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.columns import Columns, sort_by_arrival
from cluster_sim.workload.files.csv_file import MOST_TOKENS_IN_FILE
from cluster_sim.workload.readers.json_rows import Place, number
from cluster_sim.workload.readers.reader_interface import (
    MOST_SECONDS,
    NO_TIME,
    ReadOptions,
    ReadReport,
    TraceReader,
    ZeroPolicy,
    value_to_ns,
)
from cluster_sim.workload.readers.session_names import SessionNames
from cluster_sim.workload.request import NO_ATTRIBUTES, Attributes

FAILED: Final = "failed requests"


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request of a record; ``time_ns`` is None where the file has no times."""

    where: str
    time_ns: int | None
    prompt_tokens: int
    output_tokens: int
    session: str = ""


class RecordsReader(TraceReader):
    """Reads a file of records; a format is a subclass that yields them."""

    heeds: ClassVar[frozenset[str]] = frozenset()

    def records(self, path: Path, report: ReadReport) -> Iterator[RequestRecord]:
        """Yield the requests that did not fail, in file order."""
        raise NotImplementedError

    def blocks(self, path: Path, options: ReadOptions, report: ReadReport) -> Iterator[Columns]:
        """Yield all rows as one block in order of time: files of records are not long."""
        policy = ZeroPolicy.of(options, "skip", "skip")
        sessions = SessionNames(options.segment_base)
        times: list[int] = []
        lengths: list[tuple[int, int]] = []
        attributes: list[Attributes] = []
        untimed = 0
        for record in self.records(path, report):
            report.rows += 1
            pair = policy.lengths(record.prompt_tokens, record.output_tokens, report, partial(str, record.where))
            if pair is None:
                continue
            session, turn = sessions.turn_of(record.session) if record.session else (-1, 0)
            untimed += record.time_ns is None
            times.append(NO_TIME if record.time_ns is None else record.time_ns)
            lengths.append(pair)
            attributes.append(Attributes(session_id=session, turn=turn) if record.session else NO_ATTRIBUTES)
        if untimed not in {0, len(times)}:
            raise InputError(
                f"{path}: {untimed:,} of {len(times):,} requests {by_number(untimed, 'has', 'have')} no time"
            )
        if not times:
            if report.skipped:
                return
            raise InputError(f"{path}: no requests")
        both = np.asarray(lengths, dtype=np.int64)
        has_sessions = any(row is not NO_ATTRIBUTES for row in attributes)
        block = Columns(
            np.asarray(times, dtype=np.int64),
            both[:, 0].copy(),
            both[:, 1].copy(),
            attributes if has_sessions else None,
        )
        yield block if untimed else sort_by_arrival(block)


def time_ns(place: Place, row: dict[str, Any], field: str, unit_s: float) -> int:
    """Return a time of a row as ns."""
    return value_to_ns(number(place, row, field, 0, MOST_SECONDS / unit_s, whole=False), unit_s * NS_PER_S)


def tokens(place: Place, row: dict[str, Any], field: str) -> int:
    """Return a token count of a row."""
    return int(number(place, row, field, 0, MOST_TOKENS_IN_FILE, whole=True))
