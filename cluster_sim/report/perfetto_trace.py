"""``trace.json``: the life of every request in Chrome's trace format, for Perfetto (ui.perfetto.dev).

Every replica is a process: its requests are asynchronous spans (queue, prefill, decode), its running and waiting
requests and KV cache use are counters.  The layout is the JSON array format of the Trace Event Format; times are
microseconds of simulated time.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from cluster_sim.atomic_file import whole_file
from cluster_sim.report.run_data import RunData

TRACE_FILE: Final = "trace.json"

_US_PER_S: Final = 1e6
_PHASES: Final = (
    ("queue", "dispatch_s", "scheduled_s"),
    ("prefill", "scheduled_s", "first_token_s"),
    ("decode", "first_token_s", "finish_s"),
)


def write_trace(directory: Path, output: Path | None = None) -> Path:
    """Write the trace of the run in ``directory``, into it or to ``output``; return the file.

    Raises InputError if there is no complete run, or if the file cannot be written.
    """
    data = RunData.read(directory)
    file = output or directory / TRACE_FILE
    with whole_file(file) as partial, partial.open("w", encoding="utf-8") as stream:
        stream.write("[\n")
        separator = ""
        for event in trace_events(data):
            stream.write(separator + json.dumps(event, separators=(",", ":")))
            separator = ",\n"
        stream.write("\n]\n")
    return file


def trace_events(data: RunData) -> Iterator[dict[str, Any]]:
    """Yield the trace's events: names of the replicas, spans of the requests, counters of the replicas."""
    for replica in data.summary["replicas"]:
        name = f"{replica['pool']} {replica['replica']}"
        yield {"ph": "M", "name": "process_name", "pid": replica["replica"], "args": {"name": name}}
    yield from _spans(data)
    yield from _counters(data)


def _spans(data: RunData) -> Iterator[dict[str, Any]]:
    times = ["dispatch_s", "scheduled_s", "first_token_s", "finish_s"]
    table = data.requests(["request_id", "replica", "prompt_tokens", "output_tokens", *times])
    for batch in table.to_batches(max_chunksize=65_536):
        for row in batch.to_pylist():
            if row["replica"] is None:
                continue
            span = {"cat": "request", "id": row["request_id"], "pid": row["replica"], "tid": 0}
            lengths = {"prompt_tokens": row["prompt_tokens"], "output_tokens": row["output_tokens"]}
            for phase, start, end in _PHASES:
                if row[start] is None or row[end] is None:
                    continue
                yield {**span, "ph": "b", "name": phase, "ts": row[start] * _US_PER_S, "args": lengths}
                yield {**span, "ph": "e", "name": phase, "ts": row[end] * _US_PER_S}


def _counters(data: RunData) -> Iterator[dict[str, Any]]:
    series = data.series()
    columns = [series[name] for name in ("time_s", "replica", "running", "waiting", "kv_used_ratio")]
    for time_s, replica, running, waiting, kv_used in np.stack(columns, axis=1).tolist():
        place = {"ph": "C", "pid": int(replica), "ts": time_s * _US_PER_S}
        yield {**place, "name": "requests", "args": {"running": running, "waiting": waiting}}
        yield {**place, "name": "kv_used_ratio", "args": {"used": kv_used}}
