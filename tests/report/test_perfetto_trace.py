"""Tests of the trace of a run."""

import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

from cluster_sim.report.perfetto_trace import write_trace


def test_trace_tells_every_phase_of_every_request(run_directory: Path, tmp_path: Path) -> None:
    """Each finished request has three spans that follow each other, at the times of its row, in microseconds."""
    events = json.loads(write_trace(run_directory, tmp_path / "trace.json").read_text())
    spans = [event for event in events if event["ph"] in "be"]
    assert Counter((event["ph"], event["name"]) for event in spans) == {
        (ph, name): 200 for ph in "be" for name in ("queue", "prefill", "decode")
    }
    row = pq.read_table(run_directory / "requests.parquet").slice(17, 1).to_pylist()[0]
    mine = [event for event in spans if event["id"] == row["request_id"]]
    assert [event["ts"] for event in mine] == [
        row[name] * 1e6
        for name in ("dispatch_s", "scheduled_s", "scheduled_s", "first_token_s", "first_token_s", "finish_s")
    ]
    assert {event["pid"] for event in mine} == {row["replica"]}


def test_trace_names_replicas_and_counts_their_requests(run_directory: Path, tmp_path: Path) -> None:
    """Replicas are named processes with counters of their running and waiting requests."""
    events = json.loads(write_trace(run_directory, tmp_path / "trace.json").read_text())
    names = {event["pid"]: event["args"]["name"] for event in events if event["ph"] == "M"}
    assert names == {0: "main 0", 1: "main 1"}
    series = pq.read_table(run_directory / "series.parquet").to_pylist()
    assert len(series) > 10
    assert [
        (event["ts"], event["pid"], event["args"])
        for event in events
        if (event["ph"], event["name"]) == ("C", "requests")
    ] == [
        (row["time_s"] * 1e6, row["replica"], {"running": row["running"], "waiting": row["waiting"]}) for row in series
    ]
