"""Tests of the process that serves live metrics: real processes, with a feed that the test fills."""

import logging
import os
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cluster_sim.metrics.exposition.exposition import Exposition
from cluster_sim.metrics.live import EngineMembers, LiveSnapshot, opening_snapshot
from cluster_sim.metrics.live_feed import LiveFeed
from cluster_sim.metrics.seen_file import SEEN_FILE, read_seen
from cluster_sim.metrics.separate_server import SeparateServer


@pytest.fixture
def opening(finished_run) -> LiveSnapshot:
    metadata = finished_run.metadata
    return opening_snapshot(metadata, finished_run.totals, EngineMembers(metadata))


@pytest.fixture
def feed(opening: LiveSnapshot) -> LiveFeed:
    feed = LiveFeed()
    feed.publish(opening)
    return feed


@pytest.fixture
def server(finished_run, feed: LiveFeed, tmp_path: Path) -> Iterator[SeparateServer]:
    exposition = Exposition(finished_run.metadata, "hand")
    with SeparateServer(0, exposition, feed, tmp_path / SEEN_FILE) as server:
        yield server


def _arrived(server: SeparateServer) -> int:
    """Scrape, and return how many requests have arrived."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=30) as response:
        lines = response.read().decode().splitlines()
    return int(next(line.split()[-1] for line in lines if 'state="arrived"' in line))


def _wait_for(path: Path) -> None:
    deadline_s = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_scrapes_see_the_newest_snapshot(server: SeparateServer, feed: LiveFeed, opening: LiveSnapshot) -> None:
    """A scrape asks the event loop, which publishes, and gets what it has published; another one at once the same."""
    assert _arrived(server) == 0

    def publish() -> None:
        while not feed.is_asked:
            time.sleep(0.001)
        feed.publish(replace(opening, arrived=7, simulated_s=1.0), cost_s=10.0)

    loop = threading.Thread(target=publish)
    loop.start()
    deadline_s = time.monotonic() + 20
    while _arrived(server) != 7:
        assert time.monotonic() < deadline_s
    loop.join()
    assert _arrived(server) == 7
    assert not feed.is_asked, "10 s of work are paid for by 500 s of the run."


def test_the_end_is_read(server: SeparateServer, feed: LiveFeed, opening: LiveSnapshot, tmp_path: Path) -> None:
    """What was read is noted until the run is finished; then the last snapshot is served, and waited for."""
    _arrived(server)
    _wait_for(tmp_path / SEEN_FILE)
    seen = read_seen(tmp_path / SEEN_FILE)
    assert seen is not None
    assert seen.simulated_s == 0.0
    server.finish()
    (tmp_path / SEEN_FILE).unlink()
    feed.publish(replace(opening, arrived=9, simulated_s=2.0), is_last=True)
    scraper = threading.Timer(0.2, _arrived, [server])
    scraper.start()
    assert server.await_scrape(20.0)
    scraper.join()
    assert _arrived(server) == 9
    assert not (tmp_path / SEEN_FILE).exists()


def test_nobody_is_waited_for_who_was_not_seen(server: SeparateServer, feed: LiveFeed) -> None:
    """Without a scraper the end of a run waits for none."""
    feed.end()
    started_s = time.monotonic()
    assert not server.await_scrape(30.0)
    assert time.monotonic() - started_s < 20


def test_a_process_that_dies_is_replaced(
    server: SeparateServer, feed: LiveFeed, caplog: pytest.LogCaptureFixture
) -> None:
    """The port stays, two new processes take over, each with a line, and the third that dies is the last."""
    feed.end()
    for _ in range(2):
        assert _arrived(server) == 0
        before = server.pid
        os.kill(before, signal.SIGKILL)
        deadline_s = time.monotonic() + 10
        while server.pid == before:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
    assert _arrived(server) == 0
    os.kill(server.pid, signal.SIGKILL)
    server._thread.join(10)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=1)
    assert server.await_scrape(0.0) is False
    server.finish()
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert lines == [
        *["the process that serves live metrics ended (-9) and is started again"] * 2,
        "live metrics are no longer served: their process ended 3 times (-9)",
    ]


def test_nothing_is_left_of_a_closed_server(server: SeparateServer) -> None:
    """The process is gone and the port takes no connection, also in the midst of the start."""
    server.close()
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=1)


def test_the_run_goes_with_its_server(finished_run, feed: LiveFeed, tmp_path: Path) -> None:
    """The process ends by itself when the run's process is gone, as after SIGKILL."""
    server = SeparateServer(0, Exposition(finished_run.metadata, "hand"), feed, tmp_path / SEEN_FILE)
    assert _arrived(server) == 0
    server._is_closing = True
    server._orders.close()
    assert server._process.wait(10) == 0
    server.close()


def test_files_of_the_working_directory_are_not_imported(
    finished_run, feed: LiveFeed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file named as a module of the standard library, where the run was started, changes nothing."""
    (tmp_path / "http.py").write_text("raise SystemExit(1)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with SeparateServer(0, Exposition(finished_run.metadata, "hand"), feed, tmp_path / SEEN_FILE) as server:
        assert _arrived(server) == 0


def test_a_page_that_is_being_sent_is_sent_whole(finished_run, feed: LiveFeed, tmp_path: Path) -> None:
    """A scraper in the middle of some 20 MB, more than sockets hold, gets them all while the run ends."""
    feed.end()
    exposition = Exposition(finished_run.metadata, "x" * 20_000)
    with SeparateServer(0, exposition, feed, tmp_path / SEEN_FILE) as server:
        address = f"http://127.0.0.1:{server.port}/metrics"
        with urllib.request.urlopen(address, timeout=30) as response:
            ending = threading.Thread(target=server.close)
            ending.start()
            time.sleep(0.2)
            body = response.read()
            assert len(body) == int(response.headers["Content-Length"]) > 10_000_000
            ending.join()
