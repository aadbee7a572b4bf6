"""A user's own benchmark as cases: results of the usual tools, or a table with one row per request."""

import difflib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from cluster_sim.calibration.benchmark_run import BenchmarkRun, RequestTimes, run_of_rows
from cluster_sim.calibration.case import Case
from cluster_sim.calibration.library_match import canonical, match_model
from cluster_sim.calibration.result_file import ResultDocument, documents_of, read_result
from cluster_sim.calibration.result_format import RESULT_FORMATS, ResultReader
from cluster_sim.calibration.tables import rows_of
from cluster_sim.errors import InputError
from cluster_sim.options import LONGEST_RUN_S
from cluster_sim.shown_values import counted, cut, shortened

TABLE_COLUMNS: Final = ("arrival_s", "input_tokens", "output_tokens", "ttft_s", "e2e_s")
LARGEST_PLAUSIBLE_S: Final = 3600.0
"""A mean latency beyond this is a wrong unit."""


@dataclass(frozen=True, slots=True)
class Server:
    """Server that was benchmarked; the benchmark's own output does not describe it, or only in part."""

    model: str
    device: str
    tensor_parallel: int
    engine: dict[str, Any]
    """Settings of the engine block; without ``kind`` the engine is the one that the file names, or vLLM."""


@dataclass(slots=True)
class Benchmarks:
    """The runs of one file."""

    cases: list[Case] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What was left out or filled in, and what of the file contradicts the server."""


def load_benchmarks(path: Path, server: Server, seed: int = 0) -> Benchmarks:
    """Read the runs of ``path``: results of a benchmark in one of the known formats, or a CSV table (also compressed).

    Raises InputError with file, line and field for anything missing, negative or off by a unit.
    """
    return _benchmarks(path, read_runs(path, seed), server)


def read_runs(path: Path, seed: int = 0) -> list[BenchmarkRun]:
    """Return the runs that a file of benchmark results holds; ``seed`` draws what it does not say, as arrivals.

    Raises InputError as ``load_benchmarks`` does.
    """
    if not path.is_file():
        raise InputError(f"{path}: {'is a directory' if path.is_dir() else 'no such file'}")
    text = read_result(path)
    if not text.strip():
        raise InputError(f"{path}: is empty")
    if path.suffix not in {".yaml", ".yml"} and text.lstrip()[:1] not in {"{", "["}:
        runs = [_table_run(path, text)]
    else:
        documents = documents_of(path, text)
        runs = _reader(path, documents).read(documents, seed)
    for run in runs:
        _check_arrivals(run)
    return runs


def _check_arrivals(run: BenchmarkRun) -> None:
    """Raise InputError for a run whose requests are sent over a time that no simulation spans."""
    arrival_s = run.requests.arrival_s
    if len(arrival_s) and not (np.isfinite(arrival_s).all() and np.ptp(arrival_s) <= LONGEST_RUN_S):
        raise InputError(f"{run.place}: requests are sent over more than two years: are the times in seconds?")


def _reader(path: Path, documents: Sequence[ResultDocument]) -> ResultReader:
    """Return the reader that recognises a file; InputError with the keys found and the nearest format."""
    first = documents[0].data
    readers = {entry.name: entry.part() for entry in RESULT_FORMATS.entries()}
    for name, reader in readers.items():
        if reader.recognises(first):
            for document in documents[1:]:
                if not reader.recognises(document.data):
                    raise InputError(f"{document.place()}: is not of the format {name}, as the first document is")
            return reader
    sample = first[0] if isinstance(first, list) and first else first
    if not isinstance(sample, dict):
        kind = "a list of " if isinstance(first, list) else ""
        raise InputError(f"{path}:1: must hold results of a benchmark; found {kind}{cut(shortened(sample), 40)}")
    found = set(sample)
    nearest = max(readers, key=lambda name: _likeness(found, readers[name].keys))
    missing = sorted(readers[nearest].keys - found)
    likeness = _likeness(found, readers[nearest].keys)
    keys = f"its keys are {', '.join(sorted(found)[:12])}" if found else "it has no keys"
    hint = f"; the nearest format is {nearest}, which has {', '.join(missing)} too" if likeness and missing else ""
    raise InputError(
        f"{path}:1: not a benchmark result that is known: {keys}{hint}. Known: "
        f"{', '.join(readers)}, and CSV with {', '.join(TABLE_COLUMNS)}"
    )


def _likeness(found: set[str], keys: frozenset[str]) -> float:
    return sum(bool(difflib.get_close_matches(key, found, n=1, cutoff=0.8)) for key in keys) / len(keys)


def _table_run(path: Path, text: str) -> BenchmarkRun:
    """Return the run of a table; rows without times are of requests that failed."""
    rows = rows_of(path, io.StringIO(text, newline=""), TABLE_COLUMNS)
    if not rows:
        raise InputError(f"{path}: has no rows")
    cells = [[_cell(path, line, name, row[name]) for name in TABLE_COLUMNS] for line, row in enumerate(rows, 2)]
    table = np.array(cells, np.float64)
    has_times = np.isfinite(table).all(axis=1)
    used = table[has_times]
    for line, (ttft, e2e) in zip(np.flatnonzero(has_times) + 2, used[:, 3:].tolist(), strict=True):
        if ttft < 0 or e2e < ttft:
            raise InputError(f"{path}:{line}: row {line} has ttft_s {ttft} and e2e_s {e2e}")
    times = RequestTimes(used[:, 0], used[:, 1].astype(np.int64), used[:, 2].astype(np.int64), used[:, 3], used[:, 4])
    return run_of_rows(str(path), times, len(table) - len(used))


def _cell(path: Path, line: int, name: str, text: str | None) -> float:
    """Return a number of a table, NaN where a time is empty."""
    if name in {"ttft_s", "e2e_s"} and text in {None, "", "nan"}:
        return math.nan
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise InputError(f"{path}:{line}: {name}: must be a number of at least 0; got {text!r}")
    return value


def _benchmarks(path: Path, runs: Sequence[BenchmarkRun], server: Server) -> Benchmarks:
    found = Benchmarks()
    for number, run in enumerate(runs, 1):
        for (_, metric), value in run.measured.items():
            if not value > 0:
                raise InputError(f"{run.place}: {metric} is {value:g} s: it must be above 0")
            if value > LARGEST_PLAUSIBLE_S:
                raise InputError(
                    f"{run.place}: {metric} is {value:.0f} s: a unit is wrong (milliseconds read as seconds?)"
                )
        name = path.name if len(runs) == 1 else f"{path.name}#{number}"
        found.cases.append(_case(name, run, server))
    found.notes = _notes([(run.place, note) for run in runs for note in [*run.notes, *_contradictions(run, server)]])
    return found


def _notes(notes: Sequence[tuple[str, str]]) -> list[str]:
    """Return notes with their place; one that several runs have stands once."""
    places: dict[str, list[str]] = {}
    for place, note in notes:
        places.setdefault(note, []).append(place)
    return [f"{_places(own)}: {note}" for note, own in places.items()]


def _places(places: Sequence[str]) -> str:
    more = len(places) - 1
    return f"{places[0]} and {counted(more, 'further run')}" if more else places[0]


def _case(name: str, run: BenchmarkRun, server: Server) -> Case:
    return Case(
        dataset="benchmark",
        run=name,
        model=server.model,
        device=server.device,
        tensor_parallel=server.tensor_parallel,
        workload=name,
        requests=run.requests,
        engine=_engine(run, server),
        replicas=run.replicas,
        in_flight_limit=run.in_flight_limit,
        measured=run.measured,
        fold=name,
    )


def _engine(run: BenchmarkRun, server: Server) -> dict[str, Any]:
    """Return the settings of the engine; a server that served all requests had a context that holds the longest."""
    engine = {"kind": run.engine, **server.engine} if run.engine else dict(server.engine)
    if engine.get("max_model_len") is None:
        engine["max_model_len"] = int((run.requests.prompt_tokens + run.requests.output_tokens).max())
    return engine


def _contradictions(run: BenchmarkRun, server: Server) -> list[str]:
    """Return what a file says of its server that the server given does not have."""
    found = []
    if run.model is not None and not is_same_model(run.model, server.model):
        found.append(f"the file says model_id: {run.model}, and the fit is for {server.model}")
    if run.tensor_parallel is not None and run.tensor_parallel != server.tensor_parallel:
        found.append(f"the file says tensor parallel {run.tensor_parallel}, and the fit has {server.tensor_parallel}")
    kind = server.engine.get("kind")
    if run.engine is not None and kind is not None and kind != run.engine:
        found.append(f"the file says backend: {run.engine}, and the fit is for {kind}")
    return found


def is_same_model(stated: str, served: str) -> bool:
    """Return whether a file's model is the one that is fitted, as far as names tell."""
    if canonical(stated.rstrip("/")) == canonical(served.removesuffix("/config.json").rstrip("/")):
        return True
    try:
        return match_model(stated).name == match_model(served).name
    except InputError:
        return False
