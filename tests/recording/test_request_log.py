"""Tests of the request rows and their running totals."""

import msgpack
import numpy as np
import pytest

from cluster_sim.recording.request_log import RequestLog
from cluster_sim.recording.request_totals import RequestTotals, SloLimits
from cluster_sim.recording.rows import RowBlock
from cluster_sim.workload.request import Attributes, Request

S = 1_000_000_000


def _log(blocks: list[RowBlock], block_rows: int = 3, exact_limit: int = 1_000) -> RequestLog:
    totals = RequestTotals(2, ["a", "b"], 8_192, SloLimits(ttft_ns=2 * S, tpot_ns=S), exact_limit)

    def keep(block: RowBlock) -> None:
        blocks.append(block._replace(rows=block.rows.copy()))

    return RequestLog(totals, [keep], "llama", block_rows)


def _fill(log: RequestLog) -> None:
    log.add(Request(0, 0, 100, 3), 0, "a", "finished", 1 * S, 2 * S, 3 * S, 7 * S, preemptions=1)
    log.add(Request(1, 1 * S, 50, 1), 1, "b", "finished", 1 * S, 1 * S, 2 * S, 2 * S, cached_tokens=32)
    log.add(Request(2, 2 * S, 9_000, 5), -1, "", "refused", -1, -1, -1, 2 * S)
    named = Attributes(session_id=7, tenant="blue", model="other")
    log.add(Request(3, 3 * S, 10, 2, named), 0, "a", "unfinished", 3 * S, 4 * S, -1, -1)


def test_blocks_hold_every_row_once() -> None:
    """Rows come out in blocks of the stated size, the rest at the flush, words decoded by the block's lists."""
    blocks: list[RowBlock] = []
    log = _log(blocks)
    _fill(log)
    log.flush()
    log.flush()
    assert [len(block.rows) for block in blocks] == [3, 1]
    assert blocks[0].column("request_id").tolist() == [0, 1, 2]
    assert blocks[0].column("pool").tolist() == [0, 1, -1]
    last = blocks[1]
    assert last.tenants[last.column("tenant")[0]] == "blue"
    assert last.models[last.column("model")[0]] == "other"
    assert last.column("session_id").tolist() == [7]


def test_totals_follow_vllms_interval_definitions() -> None:
    """Queue, prefill, decode and inference are vLLM's; one output token gives a TPOT of 0 in the histogram only."""
    log = _log([])
    _fill(log)
    totals = log.refresh_totals()
    assert totals.statuses.tolist() == [2, 1, 0, 0, 0, 1]
    assert totals.total("ttft_ns") == 3 * S + 1 * S
    assert totals.total("queue_ns") == 1 * S + 0
    assert totals.total("prefill_ns") == 1 * S + 1 * S
    assert totals.total("decode_ns") == 4 * S
    assert totals.total("inference_ns") == 5 * S + 1 * S
    assert totals.total("e2e_ns") == 7 * S + 1 * S
    assert totals.sketches["tpot"].count == 1
    assert totals.sketches["tpot"].quantile(0.5) == 2 * S
    assert totals.histograms["tpot"].sum() == 2
    assert totals.histograms["tpot"][1, 0] == 1
    assert totals.histograms["prompt_tokens"][0].sum() == 1
    assert totals.pool_sketches[1]["ttft"].total == 1 * S
    assert totals.slo_met == {"ttft": 1, "tpot": 1, "e2e": 0, "all": 1}
    assert (totals.first_arrival_ns, totals.last_arrival_ns, totals.last_finish_ns) == (0, 3 * S, 7 * S)
    assert (totals.served, totals.served_ns) == (2, 6 * S + 1 * S)
    assert (totals.in_service, totals.in_service_since_ns) == (1, 3 * S)


def test_refreshing_totals_counts_no_row_twice() -> None:
    """Totals asked for while the run goes on equal the totals at its end."""
    often, once = _log([]), _log([])
    for log in (often, once):
        for number in range(10):
            log.add(Request(number, number * S, 10, 4), 0, "a", "finished", number * S, number * S, 50 * S, 90 * S)
            if log is often:
                log.refresh_totals()
        log.flush()
    assert often.totals.snapshot() == once.totals.snapshot()


def test_totals_do_not_depend_on_order() -> None:
    """The same rows in another order give the same totals, also once the sketches are not exact."""
    order = np.random.default_rng(3).permutation(200).tolist()
    states = []
    for numbers in (range(200), order):
        log = _log([], block_rows=17, exact_limit=50)
        for i in numbers:
            start = i * S
            log.add(
                Request(i, start, 5 + i, 1 + i % 9),
                i % 2,
                "ab"[i % 2],
                "finished",
                start,
                start,
                start + i,
                start + i * i,
            )
        log.flush()
        states.append(log.totals)
    assert states[0].snapshot() == states[1].snapshot()
    assert not states[0].sketches["e2e"].is_exact


def test_snapshot_keeps_rows_not_yet_handed_on() -> None:
    """A restored log hands on the rows that were pending, and its totals go on."""
    first: list[RowBlock] = []
    log = _log(first, block_rows=100)
    _fill(log)
    state = msgpack.unpackb(msgpack.packb(log.snapshot()))
    second: list[RowBlock] = []
    copy = _log(second, block_rows=100)
    copy.restore(state)
    for each in (log, copy):
        each.add(Request(9, 9 * S, 1, 1), 1, "b", "finished", 9 * S, 9 * S, 10 * S, 10 * S)
        each.flush()
    assert (first[0].rows == second[0].rows).all()
    assert log.totals.snapshot() == copy.totals.snapshot()


def test_unknown_status_is_an_error() -> None:
    """A status outside the published list is refused where it is noted."""
    with pytest.raises(KeyError):
        _log([]).add(Request(0, 0, 1, 1), 0, "a", "lost", 0, 0, 0, 0)


def test_sums_of_an_overloaded_fleet_leave_64_bits() -> None:
    """800 requests that each end a year and a half after they came: more ns together than an int64 holds."""
    year_and_half_ns = 48_000_000 * S
    log = _log([], block_rows=150)
    for number in range(800):
        log.add(Request(number, 0, 10, 2), 0, "a", "finished", 0, 0, S, year_and_half_ns)
    totals = log.refresh_totals()
    assert totals.total("e2e_ns") == 800 * year_and_half_ns > 1 << 63
    assert totals.served_ns == totals.sketches["e2e"].total == 800 * year_and_half_ns
    copy = _log([])
    copy.restore(msgpack.unpackb(msgpack.packb(log.snapshot())))
    assert copy.totals.total("e2e_ns") == 800 * year_and_half_ns
