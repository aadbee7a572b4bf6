"""A request log with four rows by hand."""

from cluster_sim.metrics.objectives import Slo
from cluster_sim.metrics.request_totals import RequestTotals
from cluster_sim.recording.request_log import RequestLog
from cluster_sim.recording.rows import RequestRow, RowBlock
from cluster_sim.workload.request import Attributes, Request

S = 1_000_000_000


def new_log(blocks: list[RowBlock], block_rows: int = 3, exact_limit: int = 1_000) -> RequestLog:
    totals = RequestTotals(2, ["a", "b"], 8_192, Slo(ttft_p99_s=2.0, tpot_p99_s=1.0), exact_limit)

    def keep(block: RowBlock) -> None:
        blocks.append(block._replace(rows=block.rows.copy()))

    return RequestLog(totals, [keep], "llama", block_rows)


def fill(log: RequestLog) -> None:
    log.add(RequestRow(Request(0, 0, 100, 3), "finished", 0, "a", 1 * S, 2 * S, 3 * S, 7 * S, preemptions=1))
    log.add(RequestRow(Request(1, 1 * S, 50, 1), "finished", 1, "b", 1 * S, 1 * S, 2 * S, 2 * S, cached_tokens=32))
    log.add(RequestRow(Request(2, 2 * S, 9_000, 5), "refused", -1, "", -1, -1, -1, 2 * S))
    named = Attributes(session_id=7, tenant="blue", model="other")
    log.add(RequestRow(Request(3, 3 * S, 10, 2, named), "unfinished", 0, "a", 3 * S, 4 * S, -1, -1))
