"""Tests of the metrics server."""

import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from cluster_sim.errors import InputError
from cluster_sim.metrics.exposition import Exposition
from cluster_sim.metrics.live import opening_snapshot
from cluster_sim.metrics.server import MetricsServer

OPENMETRICS = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,*/*;q=0.1"
"""What Prometheus 2.x asks for."""


@pytest.fixture
def server(finished_run) -> Iterator[MetricsServer]:
    """A server on any free loopback port."""
    with MetricsServer(0, Exposition(finished_run.metadata, {"run": "hand"}), "127.0.0.1") as server:
        yield server


def _get(server: MetricsServer, path: str, accept: str = "*/*"):
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", headers={"Accept": accept})
    return urllib.request.urlopen(request, timeout=10)


def test_serves_text_whatever_is_asked_for(server: MetricsServer, finished_run) -> None:
    """Names keep their colon and the type is text 0.0.4, also for a scraper that asks for OpenMetrics."""
    server.publish(opening_snapshot(2, finished_run.totals))
    for accept in ("*/*", OPENMETRICS, "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8"):
        with _get(server, "/metrics", accept) as response:
            body = response.read().decode()
            assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert 'vllm:num_requests_running{model_name="llama-3-8b",engine="0"} 0' in body
        assert "vllm_num" not in body


def test_page_is_made_once_per_snapshot(server: MetricsServer, finished_run) -> None:
    """Two scrapes of one snapshot get the same bytes object, a new snapshot a new one."""
    assert server.page() == b""
    server.publish(opening_snapshot(2, finished_run.totals))
    first = server.page()
    assert server.page() is first
    server.publish(opening_snapshot(2, finished_run.totals))
    assert server.page() is not first


def test_other_paths(server: MetricsServer) -> None:
    """Health is answered, anything else is not found."""
    with _get(server, "/-/healthy") as response:
        assert response.read() == b"healthy\n"
    with pytest.raises(urllib.error.HTTPError, match="404"):
        _get(server, "/other")


def test_port_in_use_is_wrong_input(server: MetricsServer, finished_run) -> None:
    """A port that cannot be had gives one message that names the option."""
    exposition = Exposition(finished_run.metadata, {"run": "hand"})
    with pytest.raises(InputError, match=f"--metrics-port {server.port}"):
        MetricsServer(server.port, exposition, "127.0.0.1")
    with pytest.raises(InputError, match="--metrics-port 70000: must be a port from 0 to 65535"):
        MetricsServer(70_000, exposition, "127.0.0.1")
