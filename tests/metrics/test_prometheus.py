"""Acceptance of the live metrics by a real Prometheus."""

import time
from pathlib import Path

from cluster_sim.metrics.exposition import Exposition
from cluster_sim.metrics.live import LiveSnapshot, ReplicaLive, RequestsLive, opening_snapshot
from cluster_sim.metrics.request_totals import RequestTotals
from cluster_sim.metrics.server import MetricsServer
from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.recording.request_log import RequestLog
from cluster_sim.recording.rows import RequestRow
from cluster_sim.workload.request import Request
from tests.metrics.prometheus_server import dashboard_expressions, running_prometheus

MS = 1_000_000


class SyntheticRun:
    """Two replicas that each finish a request of five tokens per step of 100 simulated ms."""

    def __init__(self) -> None:
        self.totals = RequestTotals(2, ["main"], 8_192)
        self._rows = RequestLog(self.totals)
        self._logs = [ReplicaLog(0), ReplicaLog(0)]
        self._steps = 0

    def step(self) -> LiveSnapshot:
        """Move on and return the snapshot."""
        start = self._steps * 100 * MS
        for replica, log in enumerate(self._logs):
            log.step(start + 20 * MS, 0, 0, 300, 1)
            for token in range(4):
                log.step(start + (30 + 10 * token) * MS, (10 + token) * MS, 1, 0, 1)
            request = Request(self._steps * 2 + replica, start, 300, 5)
            times_ns = (start, start + 5 * MS, start + 20 * MS, start + 60 * MS)
            self._rows.add(RequestRow(request, "finished", replica, "main", *times_ns))
        self._steps += 1
        replicas = [ReplicaLive(1, 0, 0.5, log.counters()) for log in self._logs]
        self._rows.refresh_totals()
        requests = RequestsLive.copy_of(self.totals)
        simulated_s = self._steps * 0.1
        return LiveSnapshot(simulated_s, simulated_s, 1.0, self._steps * 2, replicas, requests)


def test_vllm_dashboard_is_full(finished_run, shared: Path, tmp_path: Path) -> None:
    """Every expression of vLLM's own Grafana dashboard has non-empty, finite data in a real Prometheus."""
    expressions = dashboard_expressions(
        shared / "dashboards" / "vllm__grafana.json", finished_run.metadata.pools[0].model
    )
    assert len(expressions) >= 27
    run = SyntheticRun()
    with (
        MetricsServer(0, Exposition(finished_run.metadata, {"run": "synthetic"}), "127.0.0.1") as server,
        running_prometheus(tmp_path, server.port) as prometheus,
    ):
        server.publish(opening_snapshot(2, run.totals))
        deadline = time.monotonic() + 30
        lacking = expressions
        while lacking and time.monotonic() < deadline:
            for _ in range(4):
                server.publish(run.step())
                time.sleep(0.3)
            lacking = prometheus.lacking(expressions)
        assert lacking == []
        assert prometheus.query("vllm:kv_cache_usage_perc") == [0.5, 0.5]
        assert prometheus.query("cluster_sim_speedup_ratio") == [1.0]
