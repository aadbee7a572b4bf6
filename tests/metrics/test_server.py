"""Tests of the metrics server."""

import socket
import struct
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress

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


def test_silent_and_broken_connections_print_nothing(
    server: MetricsServer, finished_run, capfd: pytest.CaptureFixture[str]
) -> None:
    """Beside 600 connections that are silent, send nonsense or reset, scrapes are answered and no line appears."""
    server.publish(opening_snapshot(2, finished_run.totals))
    openings = (b"", b"GET /metr", b"\x00\xff" * 40 + b"\r\n\r\n", b"A" * 70_000, b"GET /metrics HTTP/1.1\r\n\r\n")
    strangers = []
    for index in range(600):
        stranger = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        strangers.append(stranger)
        with suppress(OSError):
            stranger.sendall(openings[index % 5])
        if index % 7 == 0:  # Closed with a reset instead of an end.
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            stranger.close()
        if index % 100 == 0:
            with _get(server, "/metrics") as response:
                assert b"vllm:num_requests_running" in response.read()
    with _get(server, "/metrics") as response:
        assert b"vllm:num_requests_running" in response.read()
    assert sum(thread.name.startswith("Thread-") for thread in threading.enumerate()) < 200
    for stranger in strangers:
        stranger.close()
    assert capfd.readouterr() == ("", "")


def test_silent_connection_is_closed(finished_run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that says nothing is closed after a while."""
    monkeypatch.setattr("cluster_sim.metrics.server.SILENCE_S", 0.05)
    exposition = Exposition(finished_run.metadata, {"run": "hand"})
    with (
        MetricsServer(0, exposition, "127.0.0.1") as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=30) as silent,
    ):
        assert silent.recv(1) == b""
