"""Logs of a running server with one line every second or every few: throughput, running requests, KV cache usage.

Two forms are read: vLLM's own log (``Engine 000: Avg prompt throughput: ... tokens/s, ...``, also amid other lines) and
a table (CSV) with the same figures.  What lies between two lines is an interval: the tokens of its generation
throughput came of steps that gave every running request one, so a step took

    running requests / generation throughput.

Left out, and counted, are intervals in which nothing ran, across a gap, and in which the number of running requests
changed so much that their mean says little.
"""

import csv
import math
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from cluster_sim.errors import InputError
from cluster_sim.hardware.predictors.csv_table import open_text, wording_csv_errors
from cluster_sim.plain_file import read_stream
from cluster_sim.shown_values import by_number, counted

COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "time_s": ("time_s", "t"),
    "prompt_throughput": ("prompt_throughput",),
    "gen_throughput": ("gen_throughput", "generation_throughput"),
    "running": ("running",),
}
"""Columns of a table, and the names that each may have."""
USAGE_COLUMN: Final = "kv_cache_pct"
MOST: Final = 1_000_000_000
"""More requests, or tokens a second, than any server has."""
SHORTEST_STEP_S, LONGEST_STEP_S = 1e-4, 60.0
"""Beyond these a unit is wrong."""
LONGEST_GAP: Final = 3.0
"""Most times the median distance that two lines may be apart."""
LARGEST_CHANGE: Final = 0.25
"""Change of the running requests, over their mean, above which an interval is left out."""
MOST_BYTES: Final = 256 << 20
MOST_INTERVALS: Final = 2_000
"""More say no more; they are thinned out evenly."""
_LINE: Final = re.compile(
    r"(?:Engine (?P<engine>\d+): )?Avg prompt throughput: (?P<prompt>\d+(?:\.\d+)?) tokens/s, "
    r"Avg generation throughput: (?P<output>\d+(?:\.\d+)?) tokens/s, Running: (?P<running>\d+) reqs"
    r".*?KV cache usage: (?P<usage>\d+(?:\.\d+)?)%(?:.*?Prefix cache hit rate: (?P<hits>\d+(?:\.\d+)?)%)?"
)
FIGURES: Final = ("prompt", "output", "running", "usage", "hits")
_TIME: Final = re.compile(r"(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)")
_CACHE: Final = re.compile(r"GPU KV cache size: ([\d,]+) tokens")
_VERSION: Final = re.compile(r"(?:vLLM API server version|LLM engine \(v)\s*(\d+(?:\.\d+)+)")
_MARK: Final = "Avg generation throughput:"


class LogLine(NamedTuple):
    """One line of a log."""

    place: str
    time_s: float
    prompt_rate: float
    """Prompt tokens per second, those found in the prefix cache included."""
    output_rate: float
    running: float
    usage_ratio: float
    """Share of the KV blocks in use."""
    hit_ratio: float = 0.0


@dataclass(frozen=True, slots=True)
class Interval:
    """What happened between two lines."""

    step_s: float
    running: float
    usage_ratio: float
    prompt_tokens: float
    """Prompt tokens that a step computed, on average."""


@dataclass(slots=True)
class EngineLog:
    """The usable intervals of one server."""

    place: str
    intervals: list[Interval]
    prompt_ratio: float
    """Prompt tokens, those that were found in the cache included, per generated token."""
    hit_ratio: float
    cache_tokens: int | None
    """As the server reported it."""
    version: str | None
    notes: list[str]

    @property
    def has_usage(self) -> bool:
        """Whether the KV cache's usage was logged at all."""
        return any(interval.usage_ratio > 0 for interval in self.intervals)


def is_engine_log(path: Path) -> bool:
    """Return whether a file is such a log, by a line of vLLM's in its first part or by the table's columns."""
    if not path.is_file():
        return False
    try:
        with open_text(path) as stream:
            head = stream.read(1 << 20)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error):
        return False
    first = head.lstrip("\ufeff \r\n").partition("\n")[0]
    names = {name.strip() for name in first.split(",")}
    is_table = "running" in names and not names.isdisjoint(COLUMNS["gen_throughput"])
    return is_table or (head.lstrip("\ufeff \t\r\n")[:1] not in {"{", "["} and _MARK in head)


def read_engine_log(path: Path) -> EngineLog:
    """Read a log; InputError with file and line for figures that are none, and for times that go back."""
    with open_text(path) as stream, wording_csv_errors(path):
        text = read_stream(path, stream, MOST_BYTES).removeprefix("\ufeff")
    notes: list[str] = []
    cache, version = _CACHE.search(text), _VERSION.search(text)
    lines = list(_vllm_lines(path, text, notes) if _MARK in text else _table_lines(path, text))
    last = -math.inf
    for line in lines:
        if line.time_s < last:
            raise InputError(
                f"{line.place}: the time goes back from {last:g} to {line.time_s:g} s: two servers' lines, or clocks "
                "that disagree? give the log of one server"
            )
        last = line.time_s
    if len(lines) < 2:
        raise InputError(f"{path}: has {counted(len(lines), 'line')} of throughput; a calibration needs many more")
    intervals = _intervals(lines, notes)
    median_s = float(np.median([interval.step_s for interval in intervals] or [SHORTEST_STEP_S]))
    if not SHORTEST_STEP_S <= median_s <= LONGEST_STEP_S:
        raise InputError(
            f"{path}: running requests over generation throughput make a step of {median_s:.3g} s: is the "
            "throughput in tokens per second?"
        )
    outputs = sum(line.output_rate for line in lines)
    hit_ratio = float(np.mean([line.hit_ratio for line in lines]))
    return EngineLog(
        str(path),
        intervals[:: -(-len(intervals) // MOST_INTERVALS) or 1],
        sum(line.prompt_rate for line in lines) / outputs if outputs else 0.0,
        hit_ratio,
        int(cache[1].replace(",", "")) if cache else None,
        version[1] if version else None,
        notes,
    )


def _vllm_lines(path: Path, text: str, notes: list[str]) -> Iterator[LogLine]:
    """Yield the lines of the first engine of vLLM's log."""
    first: str | None = None
    others: set[str] = set()
    for number, row in enumerate(text.splitlines(), 1):
        found = _LINE.search(row)
        if found is None:
            if _MARK in row:
                raise InputError(
                    f"{path}:{number}: not a line of vLLM's throughput that is known: {row.strip()[:80]!r}"
                )
            continue
        engine = found["engine"] or "0"
        first = first or engine
        if engine != first:
            others.add(engine)
            continue
        stamp = _TIME.search(row[: found.start()])
        if stamp is None:
            raise InputError(f"{path}:{number}: the line has no time, which stands before it as 11-30 16:01:07")
        month, day, hour, minute, second = (int(part) for part in stamp.groups())
        time_s = (((month * 31 + day) * 24 + hour) * 60 + minute) * 60.0 + second
        prompt, output, running, usage, hits = (float(found[name] or 0.0) for name in FIGURES)
        yield _checked(LogLine(f"{path}:{number}", time_s, prompt, output, running, usage / 100, hits / 100))
    if others:
        notes.append(f"engines {', '.join(sorted(others))} are left out: ranks of one server are equal")


def _table_lines(path: Path, text: str) -> Iterator[LogLine]:
    """Yield the rows of a table."""
    with wording_csv_errors(path):
        reader = csv.DictReader(text.splitlines())
        present = reader.fieldnames or ()
        chosen = {key: next((name for name in names if name in present), "") for key, names in COLUMNS.items()}
        missing = [key for key, name in chosen.items() if not name]
        if missing:
            raise InputError(f"{path}:1: columns missing: {', '.join(missing)}; there are {', '.join(present)}")
        for row in reader:
            place = f"{path}:{reader.line_num}"
            time_s, prompt, output, running = (_number(place, name, row[name]) for name in chosen.values())
            usage = _number(place, USAGE_COLUMN, row[USAGE_COLUMN] or "0") if USAGE_COLUMN in present else 0.0
            yield _checked(LogLine(place, time_s, prompt, output, running, usage / 100))


def _number(place: str, name: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise InputError(f"{place}: {name}: must be a number of at least 0; got {text!r}")
    return value


def _checked(line: LogLine) -> LogLine:
    """Return a line; InputError for a share above 100 %, or more than any server does."""
    for name, value in (("running", line.running), ("throughput", max(line.prompt_rate, line.output_rate))):
        if value > MOST:
            raise InputError(f"{line.place}: {name}: must be at most {MOST:,}; got {value:g}")
    for name, ratio in (("the KV cache's usage", line.usage_ratio), ("the prefix cache's hit rate", line.hit_ratio)):
        if ratio > 1:
            raise InputError(f"{line.place}: {name} is {100 * ratio:g} %: it must be at most 100")
    return line


def _intervals(lines: list[LogLine], notes: list[str]) -> list[Interval]:
    """Return the usable intervals, and note how many of which kind are not."""
    distance = float(np.median(np.diff([line.time_s for line in lines])))
    kept: list[Interval] = []
    idle = gaps = changing = 0
    for before, after in pairwise(lines):
        running = (before.running + after.running) / 2
        if running < 1 or after.output_rate <= 0:
            idle += 1
        elif after.time_s - before.time_s > LONGEST_GAP * distance:
            gaps += 1
        elif abs(after.running - before.running) > LARGEST_CHANGE * running + 1:
            changing += 1
        else:
            step_s = running / after.output_rate
            usage = (before.usage_ratio + after.usage_ratio) / 2
            computed = after.prompt_rate * (1.0 - after.hit_ratio) * step_s
            kept.append(Interval(step_s, running, usage, computed))
    for count, reason in (
        (idle, "in which nothing ran"),
        (gaps, "across a gap in the log"),
        (changing, "in which requests came or went too fast"),
    ):
        if count:
            are = by_number(count, "is", "are")
            notes.append(f"{count} of {len(lines) - 1} intervals {reason} {are} left out")
    return kept
