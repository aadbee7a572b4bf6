"""Tests of ``requests.parquet``."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cluster_sim.errors import InputError
from cluster_sim.metrics.request_totals import RequestTotals
from cluster_sim.output.request_rows import check_row_count, read_blocks, repeated_ids
from cluster_sim.output.request_table import REQUEST_SCHEMA, RequestTable
from cluster_sim.output.run_identity import RunIdentity
from cluster_sim.recording.request_log import RequestLog
from cluster_sim.recording.rows import FLEET_FIELDS, RequestRow
from cluster_sim.workload.request import Attributes, Request

S = 1_000_000_000


def test_rows_come_back_in_seconds_with_nulls(tmp_path: Path) -> None:
    """Every column has its hand-computed value; what does not apply is null; blocks are row groups."""
    table = RequestTable(tmp_path / "requests.parquet", group_rows=2)
    log = RequestLog(RequestTotals(2, ["main"]), [table.add], "llama", block_rows=2)
    log.add(RequestRow(Request(0, 0, 100, 3), "finished", 1, "main", 1 * S, 2 * S, 3 * S, 7 * S, 16, 1, 2, 3))
    log.add(RequestRow(Request(1, 1 * S, 50, 1), "finished", 0, "main", 1 * S, 1 * S, 2 * S, 2 * S))
    log.add(RequestRow(Request(2, 2 * S, 9_000, 5), "refused", -1, "", -1, -1, -1, 2 * S))
    attributes = Attributes(session_id=7, tenant="blå", model="other", priority=-2, slo_class="chat")
    times_ns = (3 * S, 4 * S, 5 * S, -1)
    log.add(RequestRow(Request(3, 3 * S, 10, 2, attributes), "unfinished", 0, "main", *times_ns, generated_tokens=1))
    log.flush()
    table.close()
    file = pq.ParquetFile(tmp_path / "requests.parquet")
    assert file.num_row_groups == 2
    rows = file.read().to_pylist()
    assert list(rows[0]) == REQUEST_SCHEMA.names
    assert rows[0] == {
        "request_id": 0, "session_id": None, "tenant": "", "model": "llama", "pool": "main", "replica": 1,
        "status": "finished", "reason": None, "arrival_s": 0.0, "dispatch_s": 1.0, "scheduled_s": 2.0,
        "first_token_s": 3.0, "finish_s": 7.0,
        "prompt_tokens": 100, "output_tokens": 3, "cached_tokens": 16, "preemptions": 1,
        "retries": 2, "generated_tokens": 3, "ttft_s": 3.0,
        "tpot_s": 2.0, "e2e_s": 7.0, "queue_s": 1.0, "prefill_s": 1.0, "decode_s": 4.0,
        "priority": 0, "slo_class": "", "prefill_replica": None, "transfer_start_s": None, "transfer_s": None,
        "transfer_bytes": None, "attempts": None, "first_dispatch_s": None, "prefilled_s": None, "preempted_s": None,
        "restarted_s": None, "interrupted_s": None, "encode_start_s": None, "encoded_s": None, "rank": None,
        "preemption_starts_s": [], "preemption_ends_s": [],
    }  # fmt: skip
    assert rows[1]["tpot_s"] is None
    assert rows[1]["decode_s"] == 0.0
    refused = rows[2]
    assert (refused["pool"], refused["replica"], refused["dispatch_s"], refused["ttft_s"]) == (None, None, None, None)
    assert (refused["status"], refused["finish_s"], refused["e2e_s"]) == ("refused", 2.0, None)
    unfinished = rows[3]
    assert (refused["generated_tokens"], unfinished["generated_tokens"]) == (0, 1)
    assert (unfinished["priority"], unfinished["slo_class"]) == (-2, "chat")
    assert (unfinished["session_id"], unfinished["tenant"], unfinished["model"]) == (7, "blå", "other")
    assert (unfinished["ttft_s"], unfinished["finish_s"], unfinished["decode_s"]) == (2.0, None, None)


def test_the_file_does_not_depend_on_the_order_of_the_rows(tmp_path: Path) -> None:
    """Rows are written by request id in groups of ids, even if an id is missing, with the same bytes in any order."""
    rows = [
        RequestRow(Request(number, number, 10, 1, Attributes(tenant=f"t{number % 5}", model=f"m{number % 3}")), "shed")
        for number in range(40)
        if number != 17
    ]
    files = []
    for order, block_rows in ((rows, 7), (rows[::-1], 3), (rows[1::2] + rows[::2], 11)):
        path = tmp_path / f"{len(files)}.parquet"
        table = RequestTable(path, group_rows=8)
        log = RequestLog(RequestTotals(1, ["main"]), [table.add], block_rows=block_rows)
        for row in order:
            log.add(row)
        log.flush()
        table.close()
        files.append(path.read_bytes())
        assert pq.read_table(path).column("request_id").to_pylist() == [*range(17), *range(18, 40)]
        assert pq.read_table(path).column("tenant").to_pylist()[:6] == ["t0", "t1", "t2", "t3", "t4", "t0"]
        assert pq.ParquetFile(path).num_row_groups == 5
    assert files[1:] == files[:1] * 2


def test_columns_of_a_fleet_come_back(tmp_path: Path) -> None:
    """Transfers and attempts come back as they were, and are null in rows of a table that lacks their columns."""
    path = tmp_path / "requests.parquet"
    table = RequestTable(path)
    log = RequestLog(RequestTotals(3, ["prefill", "decode"]), [table.add])
    moved = {"prefill_replica": 0, "transfer_start_ns": 4 * S, "transfer_ns": S // 2, "transfer_bytes": 1 << 40}
    log.add(RequestRow(Request(0, 0, 10, 2), "finished", 2, "decode", 1 * S, 2 * S, 5 * S, 6 * S, attempts=2, **moved))
    log.add(RequestRow(Request(1, 0, 10, 2), "shed", finish_ns=1 * S, reason="queue_full"))
    log.flush()
    table.close()
    rows = pq.read_table(path).to_pylist()
    columns = ("prefill_replica", "transfer_start_s", "transfer_s", "transfer_bytes", "attempts", "reason")
    assert [rows[0][name] for name in columns] == [0, 4.0, 0.5, 1 << 40, 2, None]
    assert [rows[1][name] for name in columns] == [None, None, None, None, None, "queue_full"]
    (block,) = read_blocks(path, ["prefill", "decode"])
    assert {name: block.column(name).tolist() for name in FLEET_FIELDS} == {
        **{name: [value, -1] for name, value in moved.items()},
        "attempts": [2, -1],
    }
    earlier = tmp_path / "earlier.parquet"
    pq.write_table(pq.read_table(path).drop_columns(list(columns[:-1])), earlier)
    (block,) = read_blocks(earlier, ["prefill", "decode"])
    assert all(block.column(name).tolist() == [-1, -1] for name in FLEET_FIELDS)
    assert block.column("finish_ns").tolist() == [6 * S, 1 * S]


def test_a_table_says_whose_it_is(tmp_path: Path) -> None:
    """What goes on from the parts of another run is its own run's table, with the bytes of one written in one piece,
    also where the other wrote every row.
    """
    own, other = RunIdentity("0123456789ab"), RunIdentity("ba9876543210")
    whole = RequestTable(tmp_path / "whole.parquet", 2, identity=own)
    first = RequestTable(tmp_path / "requests.parquet", 2, identity=other)
    for table in (whole, first):
        log = RequestLog(RequestTotals(1, ["main"]), [table.add])
        for number in range(4):
            log.add(RequestRow(Request(number, number, 10, 1), "refused"))
        log.flush()
    first.end_part()
    then = RequestTable(tmp_path / "requests.parquet", 2, identity=own)
    then.restore(first.snapshot())
    for table in (whole, then):
        table.close()
    assert RunIdentity.of_table(tmp_path / "requests.parquet") == own
    assert (tmp_path / "requests.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert not list(tmp_path.glob("requests-*"))


def test_preemptions_lie_with_their_requests(tmp_path: Path) -> None:
    """Starts and ends of preemptions come back in the order of time in the row of their request, whatever the order of
    the rows, and over a snapshot.
    """
    gaps_ns = {1: (2 * S, 3 * S, 5 * S, 9 * S), 2: (), 5: (1 * S, 4 * S)}
    tables = []
    for order in ((1, 2, 5), (5, 2, 1)):
        path = tmp_path / f"{order[0]}.parquet"
        table = RequestTable(path, group_rows=3)
        for number in order:
            log = RequestLog(RequestTotals(1, ["main"]), [table.add])
            gaps = gaps_ns[number]
            log.add(RequestRow(Request(number, 0, 10, 2), "finished", 0, "main", 0, 0, 1, 2, preemption_gaps_ns=gaps))
            log.flush()
            state = table.snapshot()
            table = RequestTable(path, group_rows=3)
            table.restore(state)
        table.close()
        tables.append(pq.read_table(path).select(["request_id", "preemption_starts_s", "preemption_ends_s"]))
        assert [tuple(row.values()) for row in tables[-1].to_pylist()] == [
            (1, [2.0, 5.0], [3.0, 9.0]), (2, [], []), (5, [1.0], [4.0])
        ]  # fmt: skip
    assert tables[0].equals(tables[1])


def test_ids_that_come_twice_are_counted(tmp_path: Path) -> None:
    """Two rows of one id count once, also at the edge of two row groups."""
    path = tmp_path / "requests.parquet"
    table = RequestTable(path, group_rows=4)
    log = RequestLog(RequestTotals(1, ["main"]), [table.add])
    for number in (0, 1, 1, 2, 7, 9):
        log.add(RequestRow(Request(number, number, 10, 1), "refused"))
    log.flush()
    table.close()
    assert repeated_ids(path) == 1
    twice = pq.read_table(path)
    pq.write_table(twice, path, row_group_size=2)
    assert repeated_ids(path) == 1


@pytest.mark.parametrize("whole", [7, [1], "x", None, {}, {"requests": 4}, {"requests": {"total": "a"}}])
def test_a_summary_that_counts_nothing_is_no_other_runs(whole: object) -> None:
    """Only a count that is there and differs says so: 3 rows where a summary counts 4."""
    check_row_count(Path("requests.parquet"), 3, {"whole_run": whole})
    with pytest.raises(InputError, match=r"has 3 requests, but summary\.json beside it counts 4"):
        check_row_count(Path("requests.parquet"), 3, {"whole_run": {"requests": {"total": 4}}})
