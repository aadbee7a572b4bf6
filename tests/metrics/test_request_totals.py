"""Tests of the running totals over rows."""

import msgpack
import numpy as np

from cluster_sim.recording.rows import RequestRow
from cluster_sim.workload.request import Request
from tests.recording.filled_log import S, fill, new_log


def test_totals_follow_vllms_interval_definitions() -> None:
    """Queue, prefill, decode and inference are vLLM's; one output token gives a TPOT of 0 in the histogram only."""
    log = new_log([])
    fill(log)
    log.refresh_totals()
    totals = log.totals
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
    limits = totals.objectives.all
    assert (limits.requests, limits.finished, limits.lost, limits.cut_off) == (4, 2, 1, 1)
    assert [limits.sketches[name].fraction_above(limit * S) for name, limit in (("ttft", 2), ("tpot", 1))] == [0.5, 1]
    assert totals.objectives.good == 1
    assert (totals.first_arrival_ns, totals.last_arrival_ns, totals.last_completion_ns) == (0, 3 * S, 7 * S)
    assert (totals.served, totals.served_ns) == (2, 6 * S + 1 * S)
    assert (totals.in_service, totals.in_service_since_ns) == (1, 3 * S)


def test_totals_do_not_depend_on_order() -> None:
    """The same rows in another order give the same totals, also once the sketches are not exact."""
    order = np.random.default_rng(3).permutation(200).tolist()
    states = []
    for numbers in (range(200), order):
        log = new_log([], block_rows=17, exact_limit=50)
        for i in numbers:
            start = i * S
            log.add(
                RequestRow(
                    Request(i, start, 5 + i, 1 + i % 9),
                    "finished",
                    i % 2,
                    "ab"[i % 2],
                    start,
                    start,
                    start + i,
                    start + i * i,
                )
            )
        log.flush()
        states.append(log.totals)
    assert states[0].snapshot() == states[1].snapshot()
    assert not states[0].sketches["e2e"].is_exact


def test_sums_of_an_overloaded_fleet_leave_64_bits() -> None:
    """800 requests that each end a year and a half after they came: more ns together than an int64 holds."""
    year_and_half_ns = 48_000_000 * S
    log = new_log([], block_rows=150)
    for number in range(800):
        log.add(RequestRow(Request(number, 0, 10, 2), "finished", 0, "a", 0, 0, S, year_and_half_ns))
    log.refresh_totals()
    totals = log.totals
    assert totals.total("e2e_ns") == 800 * year_and_half_ns > 1 << 63
    assert totals.served_ns == totals.sketches["e2e"].total == 800 * year_and_half_ns
    copy = new_log([])
    copy.totals.restore(msgpack.unpackb(msgpack.packb(totals.snapshot())))
    assert copy.totals.total("e2e_ns") == 800 * year_and_half_ns
