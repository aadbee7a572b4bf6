"""A small finished run, by hand: four requests on two replicas of one pool."""

from dataclasses import dataclass, replace

import pytest

from cluster_sim.metrics.objectives import Slo
from cluster_sim.metrics.request_totals import RequestTotals
from cluster_sim.metrics.run_metadata import PoolMetadata, RunMetadata
from cluster_sim.metrics.run_records import RunRecords
from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.recording.request_log import RequestLog
from cluster_sim.recording.rows import RequestRow
from cluster_sim.workload.request import Request

MS = 1_000_000


@dataclass
class FinishedRun:
    """A run that has ended: its metadata, totals and the replicas' logs."""

    metadata: RunMetadata
    totals: RequestTotals
    logs: list[ReplicaLog]
    end_ns: int
    arrived: int

    def records(self, max_waiting: int = 1) -> RunRecords:
        """The records that the figures are computed from."""
        counters = [log.counters() for log in self.logs]
        return RunRecords(
            self.totals, counters, [log.gaps() for log in self.logs], self.end_ns, self.arrived, max_waiting
        )


def make_run(slo: Slo | None = None) -> FinishedRun:
    """Replica 0 serves requests 0 and 1, replica 1 serves request 2, request 3 is refused; links take 1 ms each way.

    One iteration takes 10 ms; the first of a request computes its whole prompt.
    """
    slo = slo or Slo(ttft_p99_s=0.0125, tpot_p99_s=0.05)
    pool = PoolMetadata("main", "llama-3-8b", "h100-sxm", 2, 4, 3.0, "uncalibrated roofline", kv_blocks=100)
    pool = replace(pool, forward_link_ns=MS, return_link_ns=MS)
    metadata = RunMetadata("hand", 1, (pool,), slo)
    totals = RequestTotals(2, ["main"], 8_192, slo)
    rows = RequestLog(totals, [], "llama-3-8b")
    logs = [ReplicaLog(10 * MS), ReplicaLog(10 * MS)]
    first, second = logs
    first.enter(1 * MS)
    first.first_tokens.note(11 * MS, 12 * MS, 100, 0, 0)
    first.step(11 * MS, 0, 0, 100, 1, 100)
    first.enter(9 * MS)
    first.first_tokens.note(21 * MS, 14 * MS, 50, 0, 0)
    first.step(21 * MS, 10 * MS, 1, 50, 2, 50)
    first.step(31 * MS, 10 * MS, 2, 0, 2)
    first.leave(31 * MS)
    first.leave(31 * MS)
    first.busy_ns = [30 * MS]
    rows.add(RequestRow(Request(0, 0, 100, 3), "finished", 0, "main", 0, 1 * MS, 12 * MS, 32 * MS, generated_tokens=3))
    rows.add(
        RequestRow(
            Request(1, 8 * MS, 50, 2), "finished", 0, "main", 8 * MS, 11 * MS, 22 * MS, 32 * MS, generated_tokens=2
        )
    )
    second.enter(21 * MS)
    second.first_tokens.note(31 * MS, 12 * MS, 64, 0, 0)
    second.step(31 * MS, 0, 0, 64, 1, 64)
    second.leave(31 * MS)
    second.busy_ns = [10 * MS]
    rows.add(
        RequestRow(
            Request(2, 20 * MS, 64, 1), "finished", 1, "main", 20 * MS, 21 * MS, 32 * MS, 32 * MS, generated_tokens=1
        )
    )
    rows.add(RequestRow(Request(3, 20 * MS, 64_000, 1), "refused", -1, "", -1, -1, -1, 20 * MS))
    rows.flush()
    return FinishedRun(metadata, totals, logs, 40 * MS, 4)


@pytest.fixture
def finished_run() -> FinishedRun:
    """The run of ``make_run`` with its usual limits."""
    return make_run()
