"""``event_trace.json``: every event of a run in the vocabulary and with the priorities of Vidur's event system.

Nothing is recorded for it during the run: the stages' events follow from the stream of batches that they receive
(``serving.pipeline``), the router's from the rows of requests.  Events are sorted by time, then priority,
then replica and id.  The numbers are Vidur's; ``engine.instant.Kind`` gives the order in which the simulation
itself handles events at one time.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from cluster_sim.recording.rows import RowBlock

EVENT_TRACE_FILE: Final = "event_trace.json"

PRIORITIES: Final = {
    "batch_stage_arrival": 1,
    "request_arrival": 2,
    "batch_stage_end": 3,
    "batch_end": 4,
    "global_schedule": 5,
    "replica_stage_schedule": 6,
    "replica_schedule": 7,
}
"""Order of events at equal times in Vidur's event system."""


def request_events(block: RowBlock) -> Iterator[dict[str, Any]]:
    """Yield the arrival and the global schedule of every request of a block of rows."""
    names = ("request_id", "arrival_ns", "dispatch_ns", "replica")
    for request_id, arrival_ns, dispatch_ns, replica in zip(
        *(block.column(name).tolist() for name in names), strict=True
    ):
        yield _event(arrival_ns, "request_arrival", request=request_id)
        if dispatch_ns >= 0:
            yield _event(dispatch_ns, "global_schedule", request=request_id, replica=replica)


def batch_events(replica: int, stages: int, stream: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Yield the events of every batch of a replica from its stage stream (see ``Pipeline.take_stream``)."""
    width = 2 + 2 * stages
    assert len(stream) % width == 0, "the stream holds whole batches"
    free_ns = [0] * stages
    for batch, start in enumerate(range(0, len(stream), width)):
        record = stream[start : start + width]
        where = {"replica": replica, "batch": batch}
        yield _event(record[0], "replica_schedule", **where)
        arrival_ns = record[0]
        for stage in range(stages):
            step_ns, link_ns = record[1 + 2 * stage], record[2 + 2 * stage]
            start_ns = max(arrival_ns, free_ns[stage])
            end_ns = free_ns[stage] = start_ns + step_ns
            yield _event(arrival_ns, "batch_stage_arrival", **where, stage=stage)
            yield _event(start_ns, "replica_stage_schedule", **where, stage=stage)
            yield _event(end_ns, "batch_stage_end", **where, stage=stage)
            arrival_ns = end_ns + link_ns
        yield _event(free_ns[-1], "batch_end", **where)


def write_event_trace(path: Path, blocks: Iterable[RowBlock], streams: Mapping[int, tuple[int, Sequence[int]]]) -> None:
    """Write the trace from every request's row and, by replica, (stages, stage stream)."""
    events = [event for block in blocks for event in request_events(block)]
    for replica, (stages, stream) in sorted(streams.items()):
        events.extend(batch_events(replica, stages, stream))
    events.sort(key=_order)
    with path.open("w", encoding="utf-8") as file:
        file.write("[\n")
        file.write(",\n".join(json.dumps(event) for event in events))
        file.write("\n]\n")


def _event(time_ns: int, name: str, **where: int) -> dict[str, Any]:
    return {"time_ns": int(time_ns), "priority": PRIORITIES[name], "event": name, **where}


def _order(event: dict[str, Any]) -> tuple[int, int, int, int, int]:
    identity = event.get("batch", event.get("request", 0))
    return event["time_ns"], event["priority"], event.get("replica", -1), identity, event.get("stage", -1)
