"""HTTP server of live metrics, which never delays the simulation.

Publishing a snapshot is one assignment.  The text is made by the thread of the first scrape that asks for it and kept
until the next snapshot.  The answer is always the text format 0.0.4, whatever ``Accept`` says: see ``exposition_text``.

Whoever reaches the port may connect and stay silent: such a connection is closed after a while, or when others need its
place, and prints nothing.
"""

import socket
import threading
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

from cluster_sim.errors import InputError
from cluster_sim.metrics.exposition import Exposition
from cluster_sim.metrics.exposition_text import CONTENT_TYPE
from cluster_sim.metrics.live import LiveSnapshot

ALL_INTERFACES: Final = ""
"""Prometheus usually runs on another machine or in another container than the simulation."""

SILENCE_S: Final = 5.0
"""How long a connection may wait for the other side."""
MOST_CONNECTIONS: Final = 64
"""Connections that are open at once; a new one then takes the place of the oldest."""

_CLOSE_TIMEOUT_S: Final = 5.0
"""Longest wait for the server at the end of a run."""
_POLL_S: Final = 0.05


class _HttpServer(ThreadingHTTPServer):
    """An HTTP server whose connections are few, short and silent."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._connections: dict[Any, None] = {}
        """Open connections, the oldest first."""
        self._connections_lock = threading.Lock()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._connections_lock:
            oldest = next(iter(self._connections)) if len(self._connections) == MOST_CONNECTIONS else None
            self._connections.pop(oldest, None)
            self._connections[request] = None
        if oldest is not None:
            with suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)  # Its thread sees the end and closes it.
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._connections_lock:
            self._connections.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: connections that strangers break are no matter of the run."""


class MetricsServer:
    """Serves the latest published snapshot at ``/metrics``; a context manager, or closed by ``close``.

    ``port`` 0 takes any free port, which the attribute ``port`` then has.  Raises ``InputError`` if the port is taken.
    """

    def __init__(self, port: int, exposition: Exposition, host: str = ALL_INTERFACES) -> None:
        self._exposition = exposition
        self._snapshot: LiveSnapshot | None = None
        self._rendered: tuple[LiveSnapshot, bytes] | None = None
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            timeout = SILENCE_S

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path in {"/metrics", "/"}:
                    self._answer(HTTPStatus.OK, server.page())
                elif path == "/-/healthy":
                    self._answer(HTTPStatus.OK, b"healthy\n")
                else:
                    self._answer(HTTPStatus.NOT_FOUND, b"only /metrics and /-/healthy are served\n")

            def _answer(self, status: HTTPStatus, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", CONTENT_TYPE)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                """Log nothing: scrapes come every second."""

        try:
            self._http = _HttpServer((host, port), Handler)
        except OSError as error:
            raise InputError(f"--metrics-port {port}: the port cannot be served: {error.strerror or error}") from error
        except OverflowError as error:
            raise InputError(f"--metrics-port {port}: must be a port from 0 to 65535") from error
        self.port: int = self._http.server_address[1]
        serve = partial(self._http.serve_forever, _POLL_S)
        self._thread = threading.Thread(target=serve, name="metrics", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def publish(self, snapshot: LiveSnapshot) -> None:
        """Serve ``snapshot``, which must not change any more, from the next scrape on."""
        self._snapshot = snapshot

    def page(self) -> bytes:
        """Return the text of the latest snapshot; empty before the first."""
        with self._lock:
            snapshot = self._snapshot
            if snapshot is None:
                return b""
            if self._rendered is None or self._rendered[0] is not snapshot:
                self._rendered = (snapshot, self._exposition.text(snapshot).encode())
            return self._rendered[1]

    def close(self) -> None:
        """Stop serving and free the port."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(_CLOSE_TIMEOUT_S)
