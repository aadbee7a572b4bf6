"""Tests of the trace of a run."""

import gzip
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cluster_sim.errors import InputError
from cluster_sim.report.perfetto_trace import write_trace
from cluster_sim.report.trace_filter import TraceFilter
from tests.small_run import run_small

Event = dict[str, Any]
PAIR = (
    "fleet.pools=[{name: p, model: llama-3-8b, device: h100-sxm, replicas: 1, role: prefill}, "
    "{name: d, model: llama-3-8b, device: h100-sxm, replicas: 1, role: decode}]"
)


def _trace(run: Path, folder: Path, **chosen: Any) -> list[Event]:
    events: list[Event] = json.loads(write_trace(run, folder / "trace.json", TraceFilter(**chosen)).read_text())
    return events


def _spans(events: list[Event], request_id: int) -> list[tuple[str, int, float, float]]:
    """Return (name, process, start, end) of the spans of a request."""
    mine = [event for event in events if event["ph"] in "be" and event["id"] == request_id]
    found: list[tuple[str, int, float, float]] = []
    places: list[int] = []
    for event in mine:
        key = event["name"], event["pid"]
        if event["ph"] == "b":
            places.append(len(found))
            found.append((*key, event["ts"], float("inf")))
        else:
            place = places.pop()
            assert found[place][:2] == key
            found[place] = (*key, found[place][2], event["ts"])
    return found


def test_trace_tells_every_phase_of_every_request(run_directory: Path, tmp_path: Path) -> None:
    """Each finished request has a span at the router and three phases that follow each other, in microseconds."""
    events = _trace(run_directory, tmp_path)
    counts = Counter((event["ph"], event["name"].split()[0]) for event in events if event["ph"] in "be")
    assert counts == {(ph, name): 200 for ph in "be" for name in ("request", "queue", "prefill", "decode")}
    row = pq.read_table(run_directory / "requests.parquet").slice(17, 1).to_pylist()[0]
    at = {name: row[f"{name}_s"] * 1e6 for name in ("arrival", "dispatch", "scheduled", "first_token", "finish")}
    assert _spans(events, 17) == [
        ("request 17", 2, at["arrival"], at["finish"]),
        ("queue", row["replica"], at["dispatch"], at["scheduled"]),
        ("prefill", row["replica"], at["scheduled"], at["first_token"]),
        ("decode", row["replica"], at["first_token"], at["finish"]),
    ]
    (told,) = [event["args"] for event in events if event["name"] == "request 17" and event["ph"] == "b"]
    assert (told["status"], told["prompt_tokens"]) == ("finished", row["prompt_tokens"])


def test_trace_names_replicas_and_counts_their_requests(run_directory: Path, tmp_path: Path) -> None:
    """Replicas are named processes with counters of their running and waiting requests."""
    events = _trace(run_directory, tmp_path)
    names = {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"}
    assert names == {0: "main 0", 1: "main 1", 2: "router"}
    series = pq.read_table(run_directory / "series.parquet").to_pylist()
    assert len(series) > 10
    assert [
        (event["ts"], event["pid"], event["args"])
        for event in events
        if (event["ph"], event["name"]) == ("C", "requests")
    ] == [
        (row["time_s"] * 1e6, row["replica"], {"running": row["running"], "waiting": row["waiting"]}) for row in series
    ]


def test_requests_that_never_ran_are_there_with_their_status(tmp_path: Path) -> None:
    """One that timed out in a replica's queue has a queue up to its end, one that was shed at the router one there."""
    arrivals = "workload.arrivals={kind: poisson, request_rate: 200}"
    pressed = (arrivals, "fleet.pools.0.engine.num_kv_blocks=80", "router.client_timeout_s=1")
    run = run_small(tmp_path, *pressed).directory
    events = _trace(run, tmp_path)
    rows = pq.read_table(run / "requests.parquet").to_pylist()
    waited = next(row for row in rows if row["status"] == "cancelled" and row["scheduled_s"] is None)
    assert [(name, process) for name, process, *_ in _spans(events, waited["request_id"])] == [
        (f"request {waited['request_id']}", 2), ("queue", waited["replica"])
    ]  # fmt: skip
    assert _spans(events, waited["request_id"])[1][3] == waited["finish_s"] * 1e6
    queue = "admission={detector: {kind: concurrency, max_requests: 2}, queue: {time_to_live_s: 0.5}}"
    run = run_small(tmp_path, queue).directory
    shed = next(row for row in pq.read_table(run / "requests.parquet").to_pylist() if row["reason"] == "queue_timeout")
    events = _trace(run, tmp_path)
    assert [name for name, *_ in _spans(events, shed["request_id"])][1:] == ["router queue"]
    (told,) = [
        event["args"] for event in events if event["name"] == f"request {shed['request_id']}" and event["ph"] == "b"
    ]
    assert (told["status"], told["reason"]) == ("shed", "queue_timeout")


def test_requests_that_are_handed_over_show_their_transfer(tmp_path: Path) -> None:
    """Queue and prefill at one replica, transfer, wait and decode at the other, at the times of the row."""
    run = run_small(tmp_path, PAIR, "workload.count=20").directory
    row = pq.read_table(run / "requests.parquet").slice(7, 1).to_pylist()[0]
    spans = _spans(_trace(run, tmp_path), 7)
    assert [(name, process) for name, process, *_ in spans[1:]] == [
        ("queue", 0), ("prefill", 0), ("decode replica", 1), ("transfer", 1), ("decode replica", 1), ("decode", 1)
    ]  # fmt: skip
    moved = row["transfer_start_s"] * 1e6, (row["transfer_start_s"] + row["transfer_s"]) * 1e6
    assert spans[4][2:] == moved
    assert spans[2][3] == row["prefilled_s"] * 1e6


def test_prompts_that_are_begun_again_show_what_was_lost(tmp_path: Path) -> None:
    """From the first computation to the one after the last preemption is a span of its own, before the prefill."""
    engine = "fleet.pools.0.engine={num_kv_blocks: 90, max_num_batched_tokens: 128}"
    run = run_small(tmp_path, engine, "workload.arrivals={kind: poisson, request_rate: 60}").directory
    rows = pq.read_table(run / "requests.parquet").to_pylist()
    row = next(row for row in rows if row["restarted_s"] is not None)
    _, _, lost, prefill, _ = _spans(_trace(run, tmp_path), row["request_id"])
    assert lost == ("preemption", row["replica"], row["scheduled_s"] * 1e6, row["restarted_s"] * 1e6)
    assert prefill == ("prefill", row["replica"], row["restarted_s"] * 1e6, row["first_token_s"] * 1e6)


def test_preemptions_between_tokens_show_where_they_were(tmp_path: Path) -> None:
    """A request that was preempted once after its first token has a span as long as what the preemption took."""
    engine = "fleet.pools.0.engine={num_kv_blocks: 70}"
    run = run_small(tmp_path, engine, "workload.arrivals={kind: poisson, request_rate: 60}").directory
    rows = pq.read_table(run / "requests.parquet").to_pylist()
    row = next(row for row in rows if row["preemptions"] == 1 and row["preempted_s"])
    *_, before, lost, after = _spans(_trace(run, tmp_path), row["request_id"])
    assert [name for name, *_ in (before, lost, after)] == ["decode", "preemption", "decode"]
    assert lost[3] - lost[2] == pytest.approx(row["preempted_s"] * 1e6)
    assert (before[3], after[2]) == lost[2:]
    assert after[3] == row["finish_s"] * 1e6


def test_every_preemption_has_a_span(tmp_path: Path) -> None:
    """The spans of several preemptions lie at the row's starts and ends, and take what was lost to preemptions."""
    engine = "fleet.pools.0.engine={num_kv_blocks: 60, max_num_batched_tokens: 128}"
    answers = "workload.lengths.output={kind: uniform, min: 100, max: 300}"
    run = run_small(tmp_path, engine, answers).directory
    rows = pq.read_table(run / "requests.parquet").to_pylist()
    row = max(rows, key=lambda row: len(row["preemption_starts_s"]))
    starts, ends = row["preemption_starts_s"], row["preemption_ends_s"]
    assert len(starts) > 1
    spans = [span for span in _spans(_trace(run, tmp_path), row["request_id"]) if span[0] == "preemption"]
    assert [span[2:] for span in spans] == [(start * 1e6, end * 1e6) for start, end in zip(starts, ends, strict=True)]
    for each in rows:
        if each["status"] == "finished":
            before = (each["restarted_s"] or each["scheduled_s"]) - each["scheduled_s"]
            lost = sum(each["preemption_ends_s"]) - sum(each["preemption_starts_s"])
            assert lost == pytest.approx(before + each["preempted_s"])


def test_encoders_show_when_they_had_a_request(tmp_path: Path) -> None:
    """A request with media is at an encoder before it is in the queue of a replica."""
    traits = (
        "workload.traits={multimodal: {items: {kind: fixed, value: 1}, tokens_per_item: {kind: fixed, value: 100}}}"
    )
    encoders = "fleet.encoders={instances: 4, tokens_per_s: 5000}"
    run = run_small(tmp_path, traits, encoders, "workload.count=20").directory
    row = pq.read_table(run / "requests.parquet").slice(3, 1).to_pylist()[0]
    _, encoder, queue, *_ = _spans(_trace(run, tmp_path), 3)
    assert encoder == ("encoder", 2, row["encode_start_s"] * 1e6, row["encoded_s"] * 1e6)
    assert (queue[0], queue[2]) == ("queue", encoder[3])


def test_stages_show_their_steps(tmp_path: Path) -> None:
    """With recorded events every stage is a thread; its steps do not overlap, and they are those of the replica."""
    more = ("fleet.pools.0.pipeline_parallel=2", "run.event_trace=true", "workload.count=20")
    result = run_small(tmp_path, *more)
    events = _trace(result.directory, tmp_path)
    steps = [event for event in events if event["ph"] == "X"]
    for replica in result.summary["replicas"]:
        for stage in (0, 1):
            mine = [event for event in steps if (event["pid"], event["tid"]) == (replica["replica"], 1 + stage)]
            assert len(mine) == replica["iterations"]
            assert all(a["ts"] + a["dur"] <= b["ts"] + 1e-6 for a, b in pairwise(mine))
            busy_s = sum(event["dur"] for event in mine) / 1e6
            assert busy_s == pytest.approx(replica["stage_busy_ratio"][stage] * result.summary["simulated_s"])
    names = {(event["pid"], event["tid"]) for event in events if event["name"] == "thread_name"}
    assert names == {(replica, 1 + stage) for replica in (0, 1) for stage in (0, 1)}


def test_traces_can_be_parts(run_directory: Path, tmp_path: Path) -> None:
    """Replicas, a window and the slowest are chosen together; a compressed trace is the same; damage is named."""
    rows = pq.read_table(run_directory / "requests.parquet").to_pylist()
    events = _trace(run_directory, tmp_path, replicas=frozenset({1}), start_s=2.0, end_s=4.0, slowest=3)
    wanted = [row for row in rows if row["replica"] == 1 and row["finish_s"] >= 2 and row["arrival_s"] <= 4]
    wanted.sort(key=lambda row: -row["e2e_s"])
    shown = {event["id"] for event in events if event["ph"] == "b"}
    assert shown == {row["request_id"] for row in wanted[:3]}
    assert {event["pid"] for event in events if event["ph"] == "C"} == {1}
    assert all(2e6 <= event["ts"] <= 4e6 for event in events if event["ph"] == "C")
    packed = write_trace(run_directory, tmp_path / "t.gz", TraceFilter(slowest=2), is_compressed=True)
    plain = write_trace(run_directory, tmp_path / "t.json", TraceFilter(slowest=2))
    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()
    with pytest.raises(InputError, match=r"--trace-replicas: there is no replica 2; they are numbered 0 to 1"):
        write_trace(run_directory, tmp_path / "t.json", TraceFilter(replicas=frozenset({2})))


def test_options_of_a_trace() -> None:
    """Lists and windows as the command line has them; what they cannot mean is refused with an example."""
    assert TraceFilter.parse("0,4-6, 9", "10:20.5", 3) == TraceFilter(frozenset({0, 4, 5, 6, 9}), 10.0, 20.5, 3)
    assert TraceFilter.parse(None, ":5", None) == TraceFilter(end_s=5.0)
    assert TraceFilter.parse(None, None, None) == TraceFilter()
    for text in ("", "a", "1-", "-1", "3-1", "1,,2"):
        with pytest.raises(InputError, match="must be numbers of replicas, for example 0,4-7"):
            TraceFilter.parse(text, None, None)
    for text in ("5", "5:5", "a:b", "-1:2", "nan:2"):
        with pytest.raises(InputError, match="must be two times in simulated seconds"):
            TraceFilter.parse(None, text, None)
