"""``trace.json``: requests and engine steps in Chrome's trace format, for Perfetto (ui.perfetto.dev).

The router and every replica are processes.  A request is an asynchronous span at the router, with its status, and in
it a span for each of its phases: in the router's queue, failed attempts, and at the replicas in the queue, what was
lost to preemptions before the first token, prefill, transfer, waiting for the decode replica, decode.  Where the run
has recorded its events (``run.event_trace``), every pipeline stage is a thread with its steps.  Running and waiting
requests and the use of the KV cache are counters.  Each preemption has a span.  The layout is the JSON array format of
the Trace Event Format; times are microseconds of simulated time.
"""

import gzip
import io
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import numpy as np

from cluster_sim.atomic_file import whole_file
from cluster_sim.errors import InputError
from cluster_sim.output.event_trace import EVENT_TRACE_FILE
from cluster_sim.report.request_phases import chosen_rows, phases, request_end_s, told_of
from cluster_sim.report.run_data import RunData, undamaged
from cluster_sim.report.trace_filter import TraceFilter

TRACE_FILE: Final = "trace.json"

_US_PER_S: Final = 1e6
_US_PER_NS: Final = 1e-3
_ALL: Final = TraceFilter()
_FIRST_STAGE: Final = 1
"""Thread of the first stage; 0 is that of the requests."""

Event = dict[str, Any]


def write_trace(
    directory: Path, output: Path | None = None, chosen: TraceFilter = _ALL, *, is_compressed: bool = False
) -> Path:
    """Write the trace of the run in ``directory``, into it or to ``output``; return the file.

    Raises InputError if there is no complete run, if it has not what is chosen, or if the file cannot be written.
    """
    data = RunData.read(directory)
    chosen.check(len(data.summary["replicas"]))
    file = output or trace_path(directory, is_compressed=is_compressed)
    with undamaged(directory), whole_file(file) as partial, ExitStack() as stack:
        plain = stack.enter_context(partial.open("wb"))
        # Without the time of writing, equal traces are equal files.
        raw = stack.enter_context(gzip.GzipFile("", "wb", 6, plain, mtime=0)) if is_compressed else plain
        stream = stack.enter_context(io.TextIOWrapper(cast("BinaryIO", raw), encoding="utf-8"))
        separator = "[\n"
        for event in trace_events(data, chosen):
            stream.write(separator + json.dumps(event, separators=(",", ":")))
            separator = ",\n"
        stream.write("\n]\n")
    return file


def trace_path(directory: Path, *, is_compressed: bool) -> Path:
    """Return where the trace of a run is written."""
    return directory / (f"{TRACE_FILE}.gz" if is_compressed else TRACE_FILE)


def trace_events(data: RunData, chosen: TraceFilter = _ALL) -> Iterator[Event]:
    """Yield the trace's events: names, spans of the requests, steps of the stages, counters of the replicas."""
    replicas = data.summary["replicas"]
    router = len(replicas)
    yield {"ph": "M", "name": "process_name", "pid": router, "args": {"name": "router"}}
    for replica in replicas:
        number = replica["replica"]
        if chosen.has(number):
            name = f"{replica['pool']} {number}"
            yield {"ph": "M", "name": "process_name", "pid": number, "args": {"name": name}}
    for row in chosen_rows(data, chosen):
        yield from _spans(row, router, data.summary["simulated_s"])
    yield from _steps(data, chosen)
    yield from _counters(data, chosen)


def _spans(row: dict[str, Any], router: int, run_end_s: float) -> Iterator[Event]:
    """Yield the span of a request with its status, and those of its phases."""
    end_s = request_end_s(row, run_end_s)
    span = {"cat": "request", "id": row["request_id"], "tid": 0}
    start = {**span, "pid": router, "name": f"request {row['request_id']}"}
    yield {**start, "ph": "b", "ts": row["arrival_s"] * _US_PER_S, "args": told_of(row)}
    for name, process, start_s, stop_s in phases(row, router, end_s):
        yield {**span, "ph": "b", "name": name, "pid": process, "ts": start_s * _US_PER_S}
        yield {**span, "ph": "e", "name": name, "pid": process, "ts": stop_s * _US_PER_S}
    yield {**start, "ph": "e", "ts": end_s * _US_PER_S}


def _steps(data: RunData, chosen: TraceFilter) -> Iterator[Event]:
    """Yield the engine steps of every stage, if the run has recorded its events."""
    path = data.directory / EVENT_TRACE_FILE
    if not path.exists():
        return
    started: dict[tuple[int, int, int], int] = {}
    named: set[tuple[int, int]] = set()
    for event in _recorded(path):
        if event["event"] not in {"replica_stage_schedule", "batch_stage_end"} or not chosen.has(event["replica"]):
            continue
        replica, stage = event["replica"], event["stage"]
        key = replica, stage, event["batch"]
        if event["event"] == "replica_stage_schedule":
            started[key] = event["time_ns"]
            continue
        start_ns, end_ns = started.pop(key), event["time_ns"]
        if not chosen.overlaps(start_ns / 1e9, end_ns / 1e9):
            continue
        thread = {"pid": replica, "tid": _FIRST_STAGE + stage}
        if (replica, stage) not in named:
            named.add((replica, stage))
            yield {"ph": "M", "name": "thread_name", **thread, "args": {"name": f"stage {stage}"}}
        times = {"ts": start_ns * _US_PER_NS, "dur": (end_ns - start_ns) * _US_PER_NS}
        yield {"ph": "X", "cat": "step", "name": "step", **thread, **times, "args": {"batch": event["batch"]}}


def _recorded(path: Path) -> Iterator[Event]:
    """Yield the events of ``event_trace.json``, which has one a line; raises InputError if it is damaged."""
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                text = line.strip().rstrip(",")
                if text not in {"", "[", "]"}:
                    event: Event = json.loads(text)
                    yield event
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error


def _counters(data: RunData, chosen: TraceFilter) -> Iterator[Event]:
    series = data.series()
    columns = [series[name] for name in ("time_s", "replica", "running", "waiting", "kv_used_ratio")]
    for time_s, replica, running, waiting, kv_used in np.stack(columns, axis=1).tolist():
        if not chosen.has(int(replica)) or not chosen.overlaps(time_s, time_s):
            continue
        place = {"ph": "C", "pid": int(replica), "ts": time_s * _US_PER_S}
        yield {**place, "name": "requests", "args": {"running": running, "waiting": waiting}}
        yield {**place, "name": "kv_used_ratio", "args": {"used": kv_used}}
