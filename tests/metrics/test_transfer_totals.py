"""Tests of the totals over transfers."""

import pytest

from cluster_sim.metrics.conservation_laws import transfer_check
from cluster_sim.metrics.request_totals import RequestTotals
from cluster_sim.metrics.run_records import RunRecords
from cluster_sim.recording.request_log import RequestLog
from cluster_sim.recording.rows import RequestRow
from cluster_sim.workload.request import Request

S = 1_000_000_000


def test_transfers_by_hand() -> None:
    """Bytes and attempts cover all rows, the share of TTFT those with a transfer and a first token."""
    totals = RequestTotals(3, ["prefill", "decode"])
    log = RequestLog(totals)
    served = {"replica": 2, "pool": "decode", "dispatch_ns": 0, "scheduled_ns": 1 * S}
    moved = {"prefill_replica": 0, "transfer_start_ns": 2 * S, "transfer_ns": 1 * S, "transfer_bytes": 100}
    log.add(
        RequestRow(
            Request(0, 0, 10, 2), "finished", first_token_ns=4 * S, finish_ns=5 * S, **served, **moved, attempts=2
        )
    )
    later = moved | {"transfer_ns": 3 * S, "prefill_replica": 1}
    log.add(
        RequestRow(Request(1, 2 * S, 10, 2), "failed", finish_ns=9 * S, reason="crash", **served, **later, attempts=4)
    )
    log.add(RequestRow(Request(2, 0, 10, 2), "finished", first_token_ns=4 * S, finish_ns=5 * S, **served, attempts=1))
    log.add(RequestRow(Request(3, 0, 10, 2), "failed", finish_ns=1 * S, reason="no_replica"))
    log.flush()
    transfers = totals.transfers
    assert (totals.attempts_all, transfers.handed_over, transfers.moved_bytes) == (7, 2, 200)
    assert transfers.share_of_ttft == pytest.approx(0.25)
    assert (transfers.sketch.count, transfers.sketch.maximum) == (2, 3 * S)
    copy = RequestTotals(3, ["prefill", "decode"])
    copy.restore(totals.snapshot())
    assert copy.snapshot() == totals.snapshot()


@pytest.mark.parametrize(
    ("moved", "status", "holds"),
    [
        (None, "finished", True),
        (100, "finished", True),
        (99, "finished", False),
        (120, "failed", True),
        (90, "failed", False),
    ],
)
def test_bytes_are_conserved(moved: int | None, status: str, holds: bool) -> None:
    """What moved is what the rows say if all finished, and no less if some did not."""
    totals = RequestTotals(3, ["prefill", "decode"])
    log = RequestLog(totals)
    transfer = {"prefill_replica": 0, "transfer_start_ns": 0, "transfer_ns": 1, "transfer_bytes": 100}
    times = {"dispatch_ns": 0, "scheduled_ns": 1, "first_token_ns": 2, "finish_ns": 3}
    log.add(RequestRow(Request(0, 0, 10, 2), status, 2, "decode", **times, **transfer, attempts=2))
    log.flush()
    assert transfer_check(RunRecords(totals, [], [], 3, 1, moved_bytes=moved))["holds"] == holds
