"""Readers of formats all of whose files hold sessions."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from cluster_sim.workload.columns import Columns
from cluster_sim.workload.readers.reader_interface import NO_TIME, ReadOptions, ReadReport, TraceReader
from cluster_sim.workload.request import Attributes


class SessionReader(TraceReader):
    """A format whose rows are always turns of sessions: ``sessions`` reads it."""

    heeds: ClassVar[frozenset[str]] = frozenset()

    def holds_sessions(self, path: Path) -> bool:
        """Return True."""
        return True

    def blocks(self, path: Path, options: ReadOptions, report: ReadReport) -> Iterator[Columns]:
        """Yield the turns at their recorded starts, or at their session's: for those who want the lengths alone."""
        for session in self.sessions(path, options, report):
            start_ns = NO_TIME if session.start_ns is None else session.start_ns
            turns = session.turns
            yield Columns(
                np.asarray([start_ns if turn.start_ns is None else turn.start_ns for turn in turns], dtype=np.int64),
                np.asarray([turn.prompt_tokens for turn in turns], dtype=np.int64),
                np.asarray([turn.output_tokens for turn in turns], dtype=np.int64),
                [Attributes(turn=number, segments=turn.segments) for number, turn in enumerate(turns)],
            )
