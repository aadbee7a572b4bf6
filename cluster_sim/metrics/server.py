"""HTTP server of live metrics.

The page is made by the thread of the first scrape that asks for a snapshot, and kept for those that follow.  Whoever
reaches the port may connect, stay silent, or never read: such a connection is closed after a while, or when others need
its place, and prints nothing.
"""

import gzip
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from itertools import pairwise
from typing import Any, Final, Protocol, Self

from cluster_sim.metrics.exposition.exposition import Exposition
from cluster_sim.metrics.exposition.negotiation import accepts_gzip, prefers_openmetrics
from cluster_sim.metrics.exposition.text import OPENMETRICS, TEXT, TextWriter
from cluster_sim.metrics.http_connections import HttpServer, RequestHandler
from cluster_sim.metrics.live_feed import Published

_CLOSE_TIMEOUT_S: Final = 5.0
"""Longest wait for the server at the end of a run."""
_LAST_PAGES_S: Final = 1.0
"""Longest wait for pages that are being sent then."""
_INTERVALS: Final = 2.0
"""Scrape intervals that the end of a run waits for a scraper."""
_GZIP_LEVEL: Final = 1


class SnapshotSource(Protocol):
    """Where the server gets its snapshots."""

    def latest(self, known: int = -1) -> Published | None:
        """Return the latest snapshot; None before the first, and if it is the one with the number ``known``."""


class _Handler(RequestHandler):
    """Answers one connection."""

    def __init__(self, metrics: "MetricsServer", *arguments: Any) -> None:
        self._metrics = metrics
        super().__init__(*arguments)

    def serve(self, path: str, *, has_body: bool) -> None:
        """Answer a request for a path."""
        if path in {"/metrics", "/"}:
            self._serve_page(has_body=has_body)
        elif path == "/-/healthy":
            self.answer(HTTPStatus.OK, b"healthy\n", has_body=has_body)
        elif path == "/-/ready":
            is_ready = self._metrics.is_ready
            status = HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE
            self.answer(status, b"ready\n" if is_ready else b"no snapshot yet\n", has_body=has_body)
        else:
            text = b"only /metrics, /-/healthy and /-/ready are served\n"
            self.answer(HTTPStatus.NOT_FOUND, text, has_body=has_body)

    def _serve_page(self, *, has_body: bool) -> None:
        is_openmetrics = prefers_openmetrics(self.header("Accept"))
        is_gzip = accepts_gzip(self.header("Accept-Encoding"))
        serial, body = self._metrics.page(is_openmetrics=is_openmetrics, is_gzip=is_gzip)
        headers = {"Content-Type": OPENMETRICS if is_openmetrics else TEXT, "Vary": "Accept, Accept-Encoding"}
        if is_gzip:
            headers["Content-Encoding"] = "gzip"
        with self._metrics.sending():
            self.answer(HTTPStatus.OK, body, headers, has_body=has_body)
            self.wfile.flush()
        if has_body:
            self._metrics.note_scrape(serial)


class MetricsServer:
    """Serves the snapshots of ``source`` at ``/metrics``; a context manager, or closed by ``close``.

    ``listening`` is the socket, which it closes, and ``port`` that socket's port.
    """

    def __init__(
        self,
        listening: socket.socket,
        exposition: Exposition,
        source: SnapshotSource,
        clock: Callable[[], float] = time.monotonic,
        on_scrape: Callable[[Published], None] = lambda _published: None,
    ) -> None:
        """``on_scrape`` is told of every snapshot of which a page has been sent, once."""
        self._exposition = exposition
        self._source = source
        self._clock = clock
        self._on_scrape = on_scrape
        self._writer = TextWriter()
        self._lock = threading.Lock()
        self._latest: Published | None = None
        self._pages: dict[tuple[bool, bool], bytes] = {}
        """Pages of the latest snapshot, by format and compression."""
        self._scraped = threading.Condition()
        self._scrapes: deque[float] = deque(maxlen=3)
        """When the last pages had been sent."""
        self._read_serial = -1
        """Of the newest snapshot that a scrape has read."""
        self._pages_under_way = 0
        self._http = HttpServer(listening, partial(_Handler, self))
        self.port: int = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.accept_connections, name="metrics", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_ready(self) -> bool:
        """Whether there is a snapshot to serve."""
        return self._latest is not None or self._fetch() is not None

    def page(self, *, is_openmetrics: bool = False, is_gzip: bool = False) -> tuple[int, bytes]:
        """Return the page of the latest snapshot with the snapshot's number; empty before the first."""
        self._fetch()
        with self._lock:
            latest = self._latest
            if latest is None:
                empty = b"# EOF\n" if is_openmetrics else b""
                return -1, gzip.compress(empty, mtime=0) if is_gzip else empty
            key = is_openmetrics, is_gzip
            if key not in self._pages:
                self._pages[key] = self._rendered(latest, is_openmetrics=is_openmetrics, is_gzip=is_gzip)
            return latest.serial, self._pages[key]

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Hold the end of the server back while a page is sent, but not for long."""
        with self._scraped:
            self._pages_under_way += 1
        try:
            yield
        finally:
            with self._scraped:
                self._pages_under_way -= 1
                self._scraped.notify_all()

    def note_scrape(self, serial: int) -> None:
        """Note that a page of the snapshot with this number has been sent."""
        with self._scraped:
            self._scrapes.append(self._clock())
            is_new = serial > self._read_serial
            self._read_serial = max(self._read_serial, serial)
            self._scraped.notify_all()
        latest = self._latest
        if is_new and latest is not None:
            self._on_scrape(latest)

    def await_scrape(self, most_s: float) -> bool:
        """Wait until a scrape has read the latest snapshot, if a scraper has been seen; return whether one has.

        The wait lasts two intervals between scrapes, and ``most_s`` at most.
        """
        latest = self._fetch()
        with self._scraped:
            if latest is None or not self._scrapes:
                return False
            scrapes = list(self._scrapes)
            intervals = [later - earlier for earlier, later in pairwise(scrapes)]
            limit_s = min(most_s, _INTERVALS * max(intervals)) if intervals else most_s
            return self._scraped.wait_for(lambda: self._read_serial >= latest.serial, limit_s)

    def close(self) -> None:
        """Stop serving and free the port, once the pages that are being sent have been."""
        self._http.stop()
        self._thread.join(_CLOSE_TIMEOUT_S)
        with self._scraped:
            self._scraped.wait_for(lambda: not self._pages_under_way, _LAST_PAGES_S)
        self._http.server_close()

    def _fetch(self) -> Published | None:
        """Return the latest snapshot, and drop the pages of the one before."""
        held = self._latest
        newer = self._source.latest(-1 if held is None else held.serial)
        if newer is None:
            return held
        with self._lock:
            if self._latest is None or newer.serial > self._latest.serial:
                self._latest = newer
                self._pages = {}
            return self._latest

    def _rendered(self, latest: Published, *, is_openmetrics: bool, is_gzip: bool) -> bytes:
        plain = self._pages.get((is_openmetrics, False))
        if plain is None:
            plain = self._written(latest, is_openmetrics=is_openmetrics)
            self._pages[is_openmetrics, False] = plain
        return gzip.compress(plain, _GZIP_LEVEL, mtime=0) if is_gzip else plain

    def _written(self, latest: Published, *, is_openmetrics: bool) -> bytes:
        if not self._exposition.is_detailed and not is_openmetrics:
            # Prometheus asks for OpenMetrics, so that most runs do without prometheus-client.
            from cluster_sim.metrics.exposition.collector import client_page

            return client_page(self._exposition, latest.snapshot)
        families = self._exposition.families(latest.snapshot)
        return self._writer.page(families, is_openmetrics=is_openmetrics).encode()
