"""Tests of the request rows."""

import pytest

from cluster_sim.recording.rows import RequestRow, RowBlock
from cluster_sim.snapshot.externals import externals_of
from cluster_sim.snapshot.graph import decode_graph, encode_graph
from cluster_sim.workload.request import Request
from tests.recording.filled_log import S, fill, new_log


def test_blocks_hold_every_row_once() -> None:
    """Rows come out in blocks of the stated size, the rest at the flush, words decoded by the block's lists."""
    blocks: list[RowBlock] = []
    log = new_log(blocks)
    fill(log)
    log.flush()
    log.flush()
    assert [len(block.rows) for block in blocks] == [3, 1]
    assert blocks[0].column("request_id").tolist() == [0, 1, 2]
    assert blocks[0].column("pool").tolist() == [0, 1, -1]
    last = blocks[1]
    assert last.tenants[last.column("tenant")[0]] == "blue"
    assert last.models[last.column("model")[0]] == "other"
    assert last.column("session_id").tolist() == [7]


def test_refreshing_totals_counts_no_row_twice() -> None:
    """Totals asked for while the run goes on equal the totals at its end."""
    often, once = new_log([]), new_log([])
    for log in (often, once):
        for number in range(10):
            log.add(
                RequestRow(
                    Request(number, number * S, 10, 4), "finished", 0, "a", number * S, number * S, 50 * S, 90 * S
                )
            )
            if log is often:
                log.refresh_totals()
        log.flush()
    assert often.totals.snapshot() == once.totals.snapshot()


def test_snapshot_keeps_rows_not_yet_handed_on() -> None:
    """A log taken back from a snapshot hands on the rows that were pending, and its totals go on."""
    first: list[RowBlock] = []
    log = new_log(first, block_rows=100)
    fill(log)
    second: list[RowBlock] = []
    state = encode_graph({"log": log}, externals_of({"sinks": log._sinks}))
    copy = decode_graph(state, externals_of({"sinks": new_log(second)._sinks}))["log"]
    for either in (log, copy):
        either.add(RequestRow(Request(9, 9 * S, 1, 1), "finished", 1, "b", 9 * S, 9 * S, 10 * S, 10 * S))
        either.flush()
    assert (first[0].rows == second[0].rows).all()
    assert log.totals.snapshot() == copy.totals.snapshot()


def test_unknown_status_is_an_error() -> None:
    """A status outside the published list is refused where it is noted."""
    with pytest.raises(KeyError):
        new_log([]).add(RequestRow(Request(0, 0, 1, 1), "lost", 0, "a", 0, 0, 0, 0))
