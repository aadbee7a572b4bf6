"""Acceptance of the live metrics by a real Prometheus."""

import time
from pathlib import Path

from cluster_sim.metrics.exposition.exposition import Exposition
from cluster_sim.metrics.listening_socket import listening_socket
from cluster_sim.metrics.live import EngineMembers, LiveSnapshot, opening_snapshot
from cluster_sim.metrics.live_feed import LiveFeed
from cluster_sim.metrics.request_totals import RequestTotals
from cluster_sim.metrics.server import MetricsServer
from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.recording.request_log import RequestLog
from cluster_sim.recording.rows import RequestRow
from cluster_sim.workload.request import Request
from tests.metrics.prometheus_server import (
    GUARD_S,
    PrometheusClient,
    dashboard_expressions,
    running_prometheus,
)
from tests.metrics.snapshots import snapshot_of

MS = 1_000_000


class SyntheticRun:
    """Two replicas that each finish a request of five tokens per step of 100 simulated ms."""

    def __init__(self, metadata) -> None:
        self._metadata = metadata
        self.totals = RequestTotals(2, ["main"], 8_192)
        self._rows = RequestLog(self.totals)
        self._logs = [ReplicaLog(0), ReplicaLog(0)]
        self._steps = 0

    def step(self) -> LiveSnapshot:
        """Move on and return the snapshot."""
        start = self._steps * 100 * MS
        for replica, log in enumerate(self._logs):
            log.first_tokens.note(start + 20 * MS, 20 * MS, 300, 0, 0)
            log.step(start + 20 * MS, 0, 0, 300, 1, 300)
            for token in range(4):
                log.step(start + (30 + 10 * token) * MS, (10 + token) * MS, 1, 0, 1)
            request = Request(self._steps * 2 + replica, start, 300, 5)
            times_ns = (start, start + 5 * MS, start + 20 * MS, start + 60 * MS)
            self._rows.add(RequestRow(request, "finished", replica, "main", *times_ns))
        self._steps += 1
        self._rows.refresh_totals()
        states = [(1, 0, 50), (1, 0, 50)]
        time_s, arrived = self._steps * 0.1, self._steps * 2
        return snapshot_of(self._metadata, self.totals, self._logs, states, simulated_s=time_s, arrived=arrived)


def _publish_until(feed: LiveFeed, run: SyntheticRun, prometheus: PrometheusClient, scrapes: int) -> list[float]:
    """Move the run on whenever a scrape asks, as an event loop does, until so many have succeeded; return them."""
    deadline = time.monotonic() + GUARD_S
    while len(found := prometheus.scrapes()) < scrapes:
        assert time.monotonic() < deadline, "no scrape succeeds"
        for _ in range(10):
            if feed.is_asked:
                feed.publish(run.step())
            time.sleep(0.01)
    return found


def test_vllm_dashboard_is_full(finished_run, shared: Path, tmp_path: Path) -> None:
    """Every expression of vLLM's own Grafana dashboard has non-empty, finite data in a real Prometheus."""
    metadata = finished_run.metadata
    expressions = dashboard_expressions(shared / "dashboards" / "vllm__grafana.json", metadata.pools[0].model)
    assert len(expressions) >= 27
    run = SyntheticRun(metadata)
    feed = LiveFeed()
    with (
        MetricsServer(listening_socket(0), Exposition(metadata, "synthetic"), feed) as server,
        running_prometheus(tmp_path, server.port) as prometheus,
    ):
        feed.publish(opening_snapshot(metadata, run.totals, EngineMembers(metadata)))
        lacking, scrapes = expressions, _publish_until(feed, run, prometheus, 2)
        while lacking and len(scrapes) < 20:
            scrapes = _publish_until(feed, run, prometheus, len(scrapes) + 1)
            lacking = prometheus.lacking(expressions, scrapes[-1])
        assert lacking == []
        assert prometheus.query("vllm:kv_cache_usage_perc", scrapes[-1]) == [0.5, 0.5]
        assert prometheus.query("cluster_sim_speedup_ratio", scrapes[-1]) == [4.0]
