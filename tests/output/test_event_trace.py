"""The event trace in Vidur's vocabulary."""

import json
from pathlib import Path

import numpy as np

from cluster_sim.output.event_trace import batch_events, write_event_trace
from cluster_sim.recording.rows import FIELD, ROW_FIELDS, RowBlock


def test_two_stages_overlap_two_batches_by_hand() -> None:
    """Batches formed at 0 and 5 through stages of 10 and 20 ns, linked in 1 ns, wait for the second in turn."""
    stream = [0, 10, 1, 20, 0, 31, 5, 10, 1, 20, 0, 51]
    times = {
        (event["event"], event["batch"], event.get("stage")): event["time_ns"] for event in batch_events(3, 2, stream)
    }
    assert times["replica_stage_schedule", 0, 1] == 11
    assert times["batch_end", 0, None] == 31
    assert times["replica_stage_schedule", 1, 0] == 10
    assert times["batch_stage_arrival", 1, 1] == 21
    assert times["replica_stage_schedule", 1, 1] == 31
    assert times["batch_end", 1, None] == 51


def test_events_at_one_time_follow_the_seed_s_priorities(tmp_path: Path) -> None:
    """At equal times a stage arrival precedes a request's arrival, that precedes a stage end, and so on."""
    path = tmp_path / "event_trace.json"
    row = np.full((1, len(ROW_FIELDS)), -1)
    for name, value in {"request_id": 7, "arrival_ns": 10, "dispatch_ns": 10, "replica": 0}.items():
        row[0, FIELD[name]] = value
    write_event_trace(path, [RowBlock(row, (), (), ())], {0: (1, [0, 10, 0, 10, 10, 5, 0, 15])})
    events = json.loads(path.read_text())
    assert [event["event"] for event in events if event["time_ns"] == 10] == [
        "batch_stage_arrival",
        "request_arrival",
        "batch_stage_end",
        "batch_end",
        "global_schedule",
        "replica_stage_schedule",
        "replica_schedule",
    ]
