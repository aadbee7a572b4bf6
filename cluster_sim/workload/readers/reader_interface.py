"""Interface of trace readers, and the parts that they share."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Final, Literal, NamedTuple

import numpy as np

from cluster_sim.errors import InputError
from cluster_sim.options import ConfigModel
from cluster_sim.shown_values import by_number, counted
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.columns import Columns
from cluster_sim.workload.files.file_access import shown_names
from cluster_sim.workload.sampling.random_streams import Floats, Ints
from cluster_sim.workload.sessions.recorded_session import RecordedSession

NO_TIME: Final = -1
"""Arrival of every row of a file without times."""
MOST_SECONDS: Final = 9e9
"""The latest instant that 64-bit nanoseconds hold, near enough."""
_EXACT: Final = float(1 << 53)
"""Whole numbers of floating point are exact up to here; later instants are multiplied in two parts."""
_ADVICE: Final = "zero_tokens: skip or one says what to do with such rows"

Choice = Literal["skip", "one", "refuse"]


@dataclass(frozen=True)
class ReadOptions:
    """Options of reading that all formats share; ``TraceWorkload`` describes them."""

    zero_tokens: Literal["auto", "skip", "one", "refuse"] = "auto"
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
    """How often what was changed, in words that begin with a noun in the plural."""
    has_instants: bool = False
    """Whether times are dates, so that their unit is beyond doubt."""
    unused: dict[str, None] = field(default_factory=dict)
    """Columns and fields that are in the file and have no effect, in the order in which they were met."""

    def note(self, names: Iterable[str], known: Collection[str], prefix: str = "") -> None:
        """Take in the names of columns or fields; those that are not ``known`` have no effect."""
        self.unused.update(dict.fromkeys(prefix + name for name in names if name not in known))

    def notices(self, path: Path) -> list[str]:
        """Return a line for everything noteworthy."""
        lines = [f"{path}: skipped {counted(count, 'row')}: {reason}" for reason, count in sorted(self.skipped.items())]
        for what, count in sorted(self.changed.items()):
            nouns, rest = what.split(" ", 1)
            lines.append(f"{path}: {counted(count, nouns.removesuffix('s'))} {rest}")
        return lines + ([f"{path}: columns not used: {shown_names(self.unused)}"] if self.unused else [])

    def all_skipped(self) -> str:
        """Return in words that every row was skipped, and why."""
        count = sum(self.skipped.values())
        rows = by_number(count, "the only row was", f"all {count:,} rows were")
        return f"{rows} skipped ({', '.join(self.skipped)})"


class TraceReader:
    """Reads one format; made from the options of the format."""

    has_times: ClassVar[bool] = True
    """Whether files of this format may say when requests arrive."""
    unit_s: float | None = None
    """Seconds per unit of a time in the file; None where the file itself says it, as instants do."""
    heeds: ClassVar[frozenset[str]] = frozenset({"labels", "block_tokens", "timestamp_unit_s"})
    """Options of a trace workload that change how this format is read; a study that gives others is refused."""
    names: ClassVar[tuple[str, ...]] = ()
    """Columns or fields that tell the format; for messages about files that no format recognises."""
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
        """Yield the rows in file order, arrival in ns from any instant; ``InputError`` for a wrong file.

        The first row of the file becomes time 0 afterwards.
        """
        raise NotImplementedError

    @property
    def without_sessions(self) -> str:
        """What a study may say to have single requests instead of sessions, for messages; empty if nothing."""
        return ""

    def keeps_times(self, path: Path) -> bool:
        """Return whether times count from the start of a run already, so that the first row is not moved to 0."""
        return False

    def holds_sessions(self, path: Path) -> bool:
        """Return whether rows wait for one another, so that ``sessions`` reads the file and not ``blocks``."""
        return False

    def sessions(self, path: Path, options: ReadOptions, report: ReadReport) -> list[RecordedSession]:
        """Return the sessions in file order, times in ns from any instant; ``InputError`` for a wrong file."""
        raise NotImplementedError


def seconds_to_ns(path: Path, times: Floats, unit_s: float = 1.0) -> Ints:
    """Return times in seconds, or in units of ``unit_s`` seconds, as whole ns; InputError beyond what these hold."""
    if len(times) and float(times.max()) * unit_s > MOST_SECONDS:
        raise InputError(
            f"{path}: a time of {float(times.max()):.6g} units of {unit_s:g} s cannot be replayed; is the unit of "
            "time right? timestamp_unit_s gives another one"
        )
    unit_ns = unit_s * NS_PER_S
    if not len(times) or float(times.max()) * unit_ns < _EXACT:
        result: Ints = np.rint(times * unit_ns).astype(np.int64)
        return result
    whole = np.floor(times)
    exact: Ints = whole.astype(np.int64) * round(unit_ns) + np.rint((times - whole) * unit_ns).astype(np.int64)
    return exact


def value_to_ns(value: float, unit_ns: float) -> int:
    """Return one time in units of ``unit_ns`` nanoseconds as whole ns."""
    if value * unit_ns < _EXACT:
        return round(value * unit_ns)
    whole = int(value)
    return whole * round(unit_ns) + round((value - whole) * unit_ns)


class ZeroPolicy(NamedTuple):
    """Treatment of rows without prompt or without output tokens."""

    prompt: Choice
    output: Choice

    @classmethod
    def of(cls, options: ReadOptions, prompt: Choice = "refuse", output: Choice = "refuse") -> "ZeroPolicy":
        """Return what the options say; ``auto`` is what the format knows of such rows, else to refuse them."""
        chosen = options.zero_tokens
        return cls(prompt, output) if chosen == "auto" else cls(chosen, chosen)

    def lengths(self, prompt: int, output: int, report: ReadReport, place: Callable[[], str]) -> tuple[int, int] | None:
        """Return the lengths of one row as the policy wants them; None for a row to skip."""
        if prompt and output:
            return prompt, output
        sides: tuple[tuple[str, int, Choice], ...] = (("output", output, self.output), ("prompt", prompt, self.prompt))
        for side, tokens, choice in sides:
            if tokens:
                continue
            if choice == "refuse":
                raise InputError(f"{place()}: no {side} tokens; {_ADVICE}")
            if choice == "skip":
                report.skipped[f"no {side} tokens"] += 1
                return None
            report.changed[f"rows without {side} tokens taken as 1 token"] += 1
        return max(prompt, 1), max(output, 1)


def without_zeros(block: Columns, policy: ZeroPolicy, report: ReadReport, place: Callable[[int, str], str]) -> Columns:
    """Apply the policy for rows of 0 tokens; ``place`` names file and place of a row's prompt or output."""
    sides: tuple[tuple[str, Choice], ...] = (("output", policy.output), ("prompt", policy.prompt))
    for side, choice in sides:
        tokens = block.prompt_tokens if side == "prompt" else block.output_tokens
        zero = tokens <= 0
        count = int(np.count_nonzero(zero))
        if not count:
            continue
        if choice == "refuse":
            where = place(int(np.argmax(zero)), side)
            raise InputError(f"{where}: no {side} tokens; {_ADVICE}")
        if choice == "one":
            report.changed[f"rows without {side} tokens taken as 1 token"] += count
            ones = np.maximum(tokens, 1)
            block = replace(block, prompt_tokens=ones) if side == "prompt" else replace(block, output_tokens=ones)
        else:
            report.skipped[f"no {side} tokens"] += count
            block = block.rows(np.flatnonzero(~zero))
    return block
