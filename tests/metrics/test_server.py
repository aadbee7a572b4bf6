"""Tests of the metrics server."""

import gzip
import socket
import struct
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress

import pytest

from cluster_sim.metrics.exposition.exposition import Exposition
from cluster_sim.metrics.listening_socket import listening_socket
from cluster_sim.metrics.live import EngineMembers, opening_snapshot
from cluster_sim.metrics.live_feed import LiveFeed, Published
from cluster_sim.metrics.server import MetricsServer

OPENMETRICS = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,*/*;q=0.1"
"""What Prometheus 2.x asks for."""


class Snapshots:
    """A source whose snapshots the test makes."""

    def __init__(self, run) -> None:
        self._run = run
        self._published: Published | None = None

    def publish(self) -> None:
        """Make a new snapshot."""
        metadata = self._run.metadata
        snapshot = opening_snapshot(metadata, self._run.totals, EngineMembers(metadata))
        self._published = Published(0 if self._published is None else self._published.serial + 1, snapshot)

    def latest(self, known: int = -1) -> Published | None:
        published = self._published
        return None if published is None or published.serial == known else published


@pytest.fixture
def source(finished_run) -> Snapshots:
    return Snapshots(finished_run)


@pytest.fixture
def exposition(finished_run) -> Exposition:
    return Exposition(finished_run.metadata, "hand")


@pytest.fixture
def server(exposition, source) -> Iterator[MetricsServer]:
    """A server on any free loopback port."""
    with MetricsServer(listening_socket(0), exposition, source) as server:
        yield server


def _get(server: MetricsServer, path: str, accept: str = "*/*", method: str = "GET", **headers: str):
    url = f"http://127.0.0.1:{server.port}{path}"
    request = urllib.request.Request(url, headers={"Accept": accept, **headers}, method=method)
    return urllib.request.urlopen(request, timeout=10)


def test_names_are_the_same_in_every_format(server: MetricsServer, source: Snapshots) -> None:
    """Names keep their colon in the text format and in OpenMetrics, each with its own type."""
    source.publish()
    for accept, kind in (
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        (OPENMETRICS, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("application/vnd.google.protobuf", "text/plain; version=0.0.4; charset=utf-8"),
    ):
        with _get(server, "/metrics", accept) as response:
            body = response.read().decode()
            assert response.headers["Content-Type"] == kind
        assert 'vllm:num_requests_running{model_name="llama-3-8b",engine="0",pool="main",run="hand"} 0' in body
        assert "vllm_num" not in body
        assert body.endswith("# EOF\n") is ("openmetrics" in kind)


def test_page_is_compressed_on_request(server: MetricsServer, source: Snapshots) -> None:
    """A scraper that takes gzip gets the same page, and says so in the header."""
    source.publish()
    with _get(server, "/metrics", **{"Accept-Encoding": "gzip"}) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        packed = response.read()
    with _get(server, "/metrics") as response:
        assert response.headers["Content-Encoding"] is None
        assert response.read() == gzip.decompress(packed)


def test_head_has_no_body(server: MetricsServer, source: Snapshots) -> None:
    """HEAD answers like GET without the page."""
    source.publish()
    with _get(server, "/metrics", method="HEAD") as response:
        assert int(response.headers["Content-Length"]) > 1000
        assert response.read() == b""


def test_page_is_made_once_per_snapshot(server: MetricsServer, source: Snapshots) -> None:
    """Two scrapes of one snapshot get the same bytes object, a new snapshot a new one."""
    assert server.page() == (-1, b"")
    source.publish()
    first = server.page()
    assert server.page()[1] is first[1]
    source.publish()
    second = server.page()
    assert (second[0], second[1] is first[1]) == (first[0] + 1, False)


def test_other_paths(server: MetricsServer, source: Snapshots) -> None:
    """Health and readiness are answered, anything else is not found."""
    with _get(server, "/-/healthy") as response:
        assert response.read() == b"healthy\n"
    with pytest.raises(urllib.error.HTTPError, match="503"):
        _get(server, "/-/ready")
    source.publish()
    with _get(server, "/-/ready") as response:
        assert response.read() == b"ready\n"
    with pytest.raises(urllib.error.HTTPError, match="404"):
        _get(server, "/other")


def test_silent_and_broken_connections_print_nothing(
    server: MetricsServer, source: Snapshots, capfd: pytest.CaptureFixture[str]
) -> None:
    """Beside 600 connections that are silent, send nonsense or reset, scrapes are answered and no line appears."""
    source.publish()
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


def test_scraper_that_gives_up_prints_nothing(
    server: MetricsServer, source: Snapshots, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A client that resets the connection in mid-page leaves no traceback, and others are served."""
    source.publish()
    monkeypatch.setattr(server, "page", lambda **_: (0, b"x" * (32 << 20)))
    for _ in range(3):
        stranger = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        stranger.sendall(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n")
        assert len(stranger.recv(1000)) > 0
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stranger.close()
    with _get(server, "/-/healthy") as response:
        assert response.read() == b"healthy\n"
    time.sleep(0.1)
    assert capfd.readouterr() == ("", "")


def test_silent_connection_is_closed(exposition, source, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that says nothing is closed after a while, and so is one that never reads."""
    monkeypatch.setattr("cluster_sim.metrics.server._Handler.timeout", 0.05)
    with MetricsServer(listening_socket(0), exposition, source) as server:
        monkeypatch.setattr(server, "page", lambda **_: (0, b"x" * (32 << 20)))
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as silent:
            assert silent.recv(1) == b""
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as reader:
            reader.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            time.sleep(0.3)
            received = 0
            with suppress(ConnectionResetError):
                while part := reader.recv(1 << 20):
                    received += len(part)
            assert received < 32 << 20


def test_end_waits_for_the_scraper_that_was_seen(exposition, source, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a scraper the end waits for nobody; a scraper that was seen gets the time to read the last page."""
    source.publish()
    with MetricsServer(listening_socket(0), exposition, source) as server:
        started_s = time.monotonic()
        assert not server.await_scrape(30.0)
        with _get(server, "/metrics") as response:
            response.read()
        while server._read_serial < 0:
            time.sleep(0.01)
        assert server.await_scrape(30.0)  # It has read the last page already.
        source.publish()
        timer = threading.Timer(0.2, lambda: _get(server, "/metrics").read())
        timer.start()
        assert server.await_scrape(30.0)
        source.publish()
        assert not server.await_scrape(0.05)
        assert time.monotonic() - started_s < 20
        timer.join()


def test_end_waits_two_intervals(exposition, source) -> None:
    """Whoever has scraped every so often gets two intervals, however long the end may wait at most."""
    source.publish()
    now = [0.0]
    with MetricsServer(listening_socket(0), exposition, source, clock=lambda: now[0]) as server:
        for at_s in (0.0, 0.1, 0.2):
            now[0] = at_s
            server.note_scrape(0)
        source.publish()
        started_s = time.monotonic()
        assert not server.await_scrape(30.0)
        assert time.monotonic() - started_s < 10


def test_feed_is_a_source(exposition, finished_run) -> None:
    """A feed that nobody fills any more is served at once."""
    feed = LiveFeed()
    metadata = finished_run.metadata
    feed.publish(opening_snapshot(metadata, finished_run.totals, EngineMembers(metadata)))
    feed.end()
    with MetricsServer(listening_socket(0), exposition, feed) as server, _get(server, "/metrics") as response:
        assert b"vllm:num_requests_running" in response.read()
