"""Phases of requests for traces: which rows are shown, and in which order what happened to each."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from cluster_sim.recording.statuses import UNFINISHED
from cluster_sim.report.run_data import RunData
from cluster_sim.report.trace_filter import TraceFilter

_TIMES: Final = (
    *("arrival_s", "first_dispatch_s", "dispatch_s", "scheduled_s", "prefilled_s", "transfer_start_s", "transfer_s"),
    *("restarted_s", "first_token_s", "finish_s", "encode_start_s", "encoded_s"),
)
GAP_COLUMNS: Final = ("preemption_starts_s", "preemption_ends_s")
"""Columns that ``preemption_gaps`` reads."""
TOLD: Final = (
    *("status", "reason", "tenant", "model", "prompt_tokens", "output_tokens", "cached_tokens", "generated_tokens"),
    *("preemptions", "preempted_s", "retries"),
)
"""Columns that the span of a request tells."""

Phase = tuple[str, int, float, float]
"""(name, process, start and end in seconds)"""


def chosen_rows(data: RunData, chosen: TraceFilter) -> Iterator[dict[str, Any]]:
    """Yield the rows of the requests that are chosen, in the order of their ids."""
    table = data.requests(["request_id", "replica", "prefill_replica", *TOLD, *_TIMES, *GAP_COLUMNS])
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


def told_of(row: dict[str, Any]) -> dict[str, Any]:
    """Return what the span of a request tells, without what is null."""
    return {name: row[name] for name in TOLD if row[name] is not None}


def request_end_s(row: dict[str, Any], run_end_s: float) -> float:
    """Return when a request ended; what was turned away when it came has no finish."""
    end_s: float | None = row["finish_s"]
    if end_s is not None:
        return end_s
    arrival_s: float = row["arrival_s"]
    return run_end_s if row["status"] == UNFINISHED else arrival_s


def phases(row: dict[str, Any], router: int, end_s: float) -> Iterator[Phase]:
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
    gaps = preemption_gaps(row)
    before = [gap for gap in gaps if gap[1] <= begun_s]
    # Tables of earlier releases have no gaps.
    for start_s, stop_s in before or ([(scheduled_s, begun_s)] if begun_s > scheduled_s else []):
        yield "preemption", prefiller, start_s, stop_s
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
    since_s = first_s
    for start_s, stop_s in gaps[len(before) :]:
        # Times at the replica, the first token at the client.
        if start_s > since_s:
            yield "decode", decoder, since_s, start_s
        yield "preemption", decoder, max(start_s, first_s), max(stop_s, first_s)
        since_s = max(stop_s, first_s)
    yield "decode", decoder, since_s, end_s


def preemption_gaps(row: dict[str, Any]) -> list[tuple[float, float]]:
    """Return (start, end) in seconds of everything that preemptions took of a request; nothing for earlier tables."""
    return list(zip(row["preemption_starts_s"] or (), row["preemption_ends_s"] or (), strict=True))


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
