"""Tests of the metrics server's connections."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster_sim.metrics.exposition.exposition import Exposition
from cluster_sim.metrics.listening_socket import listening_socket
from cluster_sim.metrics.live import EngineMembers, opening_snapshot
from cluster_sim.metrics.live_feed import LiveFeed, Published
from cluster_sim.metrics.server import MetricsServer


@pytest.fixture
def feed(finished_run) -> LiveFeed:
    """The opening snapshot of a run, which nobody replaces."""
    metadata = finished_run.metadata
    feed = LiveFeed()
    feed.publish(opening_snapshot(metadata, finished_run.totals, EngineMembers(metadata)))
    feed.end()
    return feed


@pytest.fixture
def noted() -> list[Published]:
    """What the server has told of pages that it sent."""
    return []


@pytest.fixture
def server(finished_run, feed, noted) -> Iterator[MetricsServer]:
    with MetricsServer(
        listening_socket(0), Exposition(finished_run.metadata, "hand"), feed, on_scrape=noted.append
    ) as server:
        yield server


def _answer(server: MetricsServer, *parts: bytes) -> bytes:
    """Send a request in parts and return the whole answer."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(0.02)
        received = b""
        while part := connection.recv(1 << 20):
            received += part
    return received


def test_request_may_come_in_parts(server: MetricsServer) -> None:
    """A request that is sent in three parts is answered as a whole one is, with the length of its body."""
    head, _, body = _answer(server, b"GET /-/hea", b"lthy HTTP/1.1\r\nHost: a\r", b"\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 OK\r\nServer: cluster-sim")
    assert head.endswith(b"Content-Length: 8")
    assert body == b"healthy\n"


def test_other_requests_are_refused(server: MetricsServer) -> None:
    """Other methods are not implemented, and nonsense or half a request leave the server answering."""
    assert _answer(server, b"POST /metrics HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.0 501 ")
    assert b"200" not in _answer(server, b"\x00\xff\r\n\r\n")
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"GET /metr")
        connection.shutdown(socket.SHUT_WR)
        assert b"200" not in connection.recv(1 << 16)
    assert _answer(server, b"GET /-/healthy HTTP/1.1\r\n\r\n").endswith(b"healthy\n")


def test_headers_may_repeat(server: MetricsServer) -> None:
    """The values of a header that stands there twice count together, whatever the case of its name."""
    request = b"GET /metrics HTTP/1.1\r\nACCEPT-encoding: br\r\nAccept-Encoding: gzip\r\n\r\n"
    assert b"\r\nContent-Encoding: gzip\r\n" in _answer(server, request)


def test_snapshot_is_noted_once(server: MetricsServer, noted: list[Published]) -> None:
    """Three scrapes of one snapshot are told once: its note is a file that is written."""
    for _ in range(3):
        assert b"vllm:num_requests_running" in _answer(server, b"GET /metrics HTTP/1.1\r\n\r\n")
    deadline_s = time.monotonic() + 10
    while len(server._scrapes) < 3 and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert [published.serial for published in noted] == [0]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads /proc")
def test_server_sleeps_while_nobody_connects(server: MetricsServer) -> None:
    """The server's thread does not wake up once in 0.3 s: each time it would take the interpreter from the run."""
    status = Path(f"/proc/self/task/{server._thread.native_id}/status")

    def switches() -> list[str]:
        return [line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("voluntary_ctxt")]

    _answer(server, b"GET /-/healthy HTTP/1.1\r\n\r\n")
    time.sleep(0.2)
    before = switches()
    time.sleep(0.3)
    assert switches() == before


def test_closed_server_is_gone_at_once(server: MetricsServer) -> None:
    """Closing waits for nobody, and the port takes no connection afterwards."""
    started_s = time.monotonic()
    server.close()
    assert time.monotonic() - started_s < 2
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=1)


def test_pages_for_prometheus_need_no_library() -> None:
    """The server starts without prometheus-client, whose import takes 20 ms."""
    code = "import sys, cluster_sim.metrics.server; print('prometheus_client' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
