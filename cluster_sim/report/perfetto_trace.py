"""``trace.json``: requests and engine steps in Chrome's trace format, for Perfetto (ui.perfetto.dev).

The router and every replica are processes.  A request is an asynchronous span at the router, with its status, and in
it a span for each of its phases: in the router's queue, failed attempts, and at the replicas in the queue, what was
lost to preemptions before the first token, prefill, transfer, waiting for the decode replica, decode.  Where the run
has recorded its events (``run.event_trace``), every pipeline stage is a thread with its steps.  Running and waiting
requests and the use of the KV cache are counters.  Of several preemptions after the first token the last one has a
span, all are in the request's ``preempted_s``.  The layout is the JSON array format of the Trace Event Format;
times are microseconds of simulated time.
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
from cluster_sim.recording.statuses import UNFINISHED
from cluster_sim.report.run_data import RunData, undamaged
from cluster_sim.report.trace_filter import TraceFilter

TRACE_FILE: Final = "trace.json"

_US_PER_S: Final = 1e6
_US_PER_NS: Final = 1e-3
_TIMES: Final = (
    *("arrival_s", "first_dispatch_s", "dispatch_s", "scheduled_s", "prefilled_s", "transfer_start_s", "transfer_s"),
    *("restarted_s", "first_token_s", "finish_s", "encode_start_s", "encoded_s", "preempted_at_s", "resumed_s"),
)
_TOLD: Final = (
    *("status", "reason", "tenant", "model", "prompt_tokens", "output_tokens", "cached_tokens", "generated_tokens"),
    *("preemptions", "preempted_s", "retries"),
)
"""Columns that the span of a request tells."""
_ALL: Final = TraceFilter()
_FIRST_STAGE: Final = 1
"""Thread of the first stage; 0 is that of the requests."""

Event = dict[str, Any]
Phase = tuple[str, int, float, float]
"""(name, process, start and end in seconds)"""


def write_trace(
    directory: Path, output: Path | None = None, chosen: TraceFilter = _ALL, *, is_compressed: bool = False
) -> Path:
    """Write the trace of the run in ``directory``, into it or to ``output``; return the file.

    Raises InputError if there is no complete run, if it has not what is chosen, or if the file cannot be written.
    """
    data = RunData.read(directory)
    chosen.check(len(data.summary["replicas"]))
    file = output or directory / (f"{TRACE_FILE}.gz" if is_compressed else TRACE_FILE)
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
    for row in _rows(data, chosen):
        yield from _spans(row, router, data.summary["simulated_s"])
    yield from _steps(data, chosen)
    yield from _counters(data, chosen)


def _rows(data: RunData, chosen: TraceFilter) -> Iterator[dict[str, Any]]:
    """Yield the rows of the requests that are chosen, in the order of their ids."""
    table = data.requests(["request_id", "replica", "prefill_replica", *_TOLD, *_TIMES])
    columns = {name: _numbers(table.column(name)) for name in ("arrival_s", "finish_s", "replica", "prefill_replica")}
    arrival, end = columns["arrival_s"], columns["finish_s"]
    statuses = table.column("status").cast("string").to_numpy(zero_copy_only=False)
    end = np.where(np.isnan(end), np.where(statuses == UNFINISHED, data.summary["simulated_s"], arrival), end)
    shown = (end >= chosen.start_s) & (arrival <= chosen.end_s)
    if chosen.replicas is not None:
        numbers = sorted(chosen.replicas)
        shown &= np.isin(columns["replica"], numbers) | np.isin(columns["prefill_replica"], numbers)
    places = np.flatnonzero(shown)
    if chosen.slowest is not None:
        order = np.argsort(-(end - arrival)[places], kind="stable")
        places = np.sort(places[order[: chosen.slowest]])
    for batch in table.take(places).to_batches(max_chunksize=65_536):
        yield from batch.to_pylist()


def _numbers(column: Any) -> Any:
    return column.cast("float64").fill_null(float("nan")).combine_chunks().to_numpy()


def _spans(row: dict[str, Any], router: int, run_end_s: float) -> Iterator[Event]:
    """Yield the span of a request with its status, and those of its phases."""
    end_s = row["finish_s"]
    if end_s is None:
        end_s = run_end_s if row["status"] == UNFINISHED else row["arrival_s"]
    told = {name: row[name] for name in _TOLD if row[name] is not None}
    span = {"cat": "request", "id": row["request_id"], "tid": 0}
    start = {**span, "pid": router, "name": f"request {row['request_id']}"}
    yield {**start, "ph": "b", "ts": row["arrival_s"] * _US_PER_S, "args": told}
    for name, process, start_s, stop_s in _phases(row, router, end_s):
        yield {**span, "ph": "b", "name": name, "pid": process, "ts": start_s * _US_PER_S}
        yield {**span, "ph": "e", "name": name, "pid": process, "ts": stop_s * _US_PER_S}
    yield {**start, "ph": "e", "ts": end_s * _US_PER_S}


def _phases(row: dict[str, Any], router: int, end_s: float) -> Iterator[Phase]:
    """Yield the phases of a request up to its end; what it has not reached is left out."""
    dispatch_s, scheduled_s, first_s = row["dispatch_s"], row["scheduled_s"], row["first_token_s"]
    sent_s = _first(row["first_dispatch_s"], dispatch_s, end_s)
    yield from _at_router(row, router, sent_s, is_sent=dispatch_s is not None)
    if dispatch_s is None:
        return
    if row["first_dispatch_s"] is not None:
        yield "failed attempts", router, sent_s, dispatch_s
    decoder = row["replica"]
    prefiller = int(_first(row["prefill_replica"], decoder))
    yield "queue", prefiller, dispatch_s, _first(scheduled_s, end_s)
    if scheduled_s is None:
        return
    prefilled_s, begun_s = row["prefilled_s"], _first(row["restarted_s"], scheduled_s)
    if begun_s > scheduled_s:
        yield "preemption", prefiller, scheduled_s, begun_s
    yield "prefill", prefiller, begun_s, _first(prefilled_s, first_s, end_s)
    if prefilled_s is not None:
        moved_s = _first(row["transfer_start_s"], prefilled_s)
        if moved_s > prefilled_s:
            yield "decode replica", decoder, prefilled_s, moved_s
        arrived_s = moved_s + _first(row["transfer_s"], 0.0)
        if row["transfer_start_s"] is not None:
            yield "transfer", decoder, moved_s, arrived_s
        yield "decode replica", decoder, max(arrived_s, prefilled_s), first_s
    if first_s is None:
        return
    if row["preempted_at_s"] is None:
        yield "decode", decoder, first_s, end_s
        return
    # Times at the replica, the first token at the client.
    stopped_s, resumed_s = (max(row[name], first_s) for name in ("preempted_at_s", "resumed_s"))
    yield "decode", decoder, first_s, stopped_s
    yield "preemption", decoder, stopped_s, resumed_s
    yield "decode", decoder, resumed_s, end_s


def _at_router(row: dict[str, Any], router: int, sent_s: float, *, is_sent: bool) -> Iterator[Phase]:
    """Yield the phases of a request until it is sent to a replica, or ends."""
    since_s = row["arrival_s"]
    if row["encode_start_s"] is not None:
        if row["encode_start_s"] > since_s:
            yield "router queue", router, since_s, row["encode_start_s"]
        since_s = min(row["encoded_s"], sent_s)
        yield "encoder", router, row["encode_start_s"], since_s
    if sent_s > since_s or not is_sent:
        yield "router queue", router, since_s, sent_s


def _first(*values: float | None) -> float:
    """Return the first value that is known; the last one is."""
    return next(value for value in values if value is not None)


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
