"""Interface of trace readers, and the parts that they share."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final, Literal

import numpy as np

from cluster_sim.errors import InputError
from cluster_sim.options import LONGEST_RUN_S, ConfigModel
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.columns import Columns
from cluster_sim.workload.sampling.random_streams import Floats, Ints

NO_TIME: Final = -1
"""Arrival of every row of a file without times."""


@dataclass(frozen=True)
class ReadOptions:
    """Options of reading that all formats share; ``TraceWorkload`` describes them."""

    zero_output: Literal["auto", "skip", "one", "refuse"] = "auto"
    block_tokens: int | None = None
    timestamp_unit_s: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    prefixes: bool = True
    segment_base: int = 0
    strict: bool = False


@dataclass
class ReadReport:
    """Rows that were skipped or changed while reading, for the user to know: nothing is skipped in silence."""

    rows: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)

    def notices(self, path: Path) -> list[str]:
        """Return a line for everything noteworthy."""
        lines = [f"{path}: skipped {count:,} rows: {reason}" for reason, count in sorted(self.skipped.items())]
        return lines + [f"{path}: {count:,} {what}" for what, count in sorted(self.changed.items())]


class TraceReader:
    """Reads one format; made from the options of the format."""

    has_times: ClassVar[bool] = True
    """Whether files of this format may say when requests arrive."""
    sample: ClassVar[bytes]
    """A small file of this format, for documents and for the tests of every format, which also mutate it."""

    def __init__(self, options: ConfigModel) -> None:
        self.options = options

    def recognises(self, path: Path, head: bytes) -> bool:
        """Return whether a file that starts with ``head`` (decompressed; empty for a folder) has this format.

        A format that cannot be told from others must be named in the study.
        """
        return False

    def blocks(self, path: Path, options: ReadOptions, report: ReadReport) -> Iterator[Columns]:
        """Yield the rows in file order, arrival in ns from the trace's own start; ``InputError`` for a wrong file."""
        raise NotImplementedError


def seconds_to_ns(path: Path, seconds: Floats) -> Ints:
    """Return seconds as whole ns; InputError beyond the longest run."""
    if len(seconds) and float(seconds.max()) > LONGEST_RUN_S:
        raise InputError(
            f"{path}: a request arrives {float(seconds.max()):.6g} s after the start, beyond the {LONGEST_RUN_S:.0f} s "
            "that a run can span; is the unit of time right?"
        )
    result: Ints = np.rint(seconds * NS_PER_S).astype(np.int64)
    return result


def without_outputs(
    block: Columns, policy: Literal["skip", "one", "refuse"], report: ReadReport, place: Callable[[int], str]
) -> Columns:
    """Apply the policy for rows whose output is 0 tokens; ``place`` names file and place of a row of the block."""
    zero = block.output_tokens <= 0
    count = int(np.count_nonzero(zero))
    if not count:
        return block
    if policy == "refuse":
        where = place(int(np.argmax(zero)))
        raise InputError(f"{where}: no output tokens; zero_output: skip or one says what to do with such rows")
    if policy == "one":
        report.changed["rows without output tokens taken as 1 token"] += count
        block.output_tokens = np.maximum(block.output_tokens, 1)
        return block
    report.skipped["no output tokens"] += count
    return block.rows(np.flatnonzero(~zero))
