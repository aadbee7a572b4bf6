"""HTTP connections of the metrics server: those of the standard library, few and short.

Nothing is polled while nobody connects: a run may last for days.
"""

import socket
import threading
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

SILENCE_S: Final = 5.0
"""How long a connection may wait for the other side, to say something or to read."""
MOST_CONNECTIONS: Final = 64
"""Connections that are open at once; a new one then takes the place of the oldest."""

_RETRY_S: Final = 0.05
"""Wait after a connection that could not be accepted, as when there are no file descriptors left."""


class HttpServer(ThreadingHTTPServer):
    """Accepts connections, each in a thread of its own, and prints nothing."""

    daemon_threads = True

    def __init__(self, listening: socket.socket, handler: Any) -> None:
        self._connections: dict[Any, None] = {}
        """Open connections, the oldest first."""
        self._connections_lock = threading.Lock()
        self._closing = threading.Event()
        super().__init__(listening.getsockname(), handler, bind_and_activate=False)
        self.socket.close()  # The one that the base class has made.
        self.socket = listening

    def accept_connections(self) -> None:
        """Accept connections until ``stop`` is called, without a look at the clock now and then."""
        while not self._closing.is_set():
            self.handle_request()

    def stop(self) -> None:
        """Let ``accept_connections`` return."""
        self._closing.set()
        try:
            self.socket.shutdown(socket.SHUT_RDWR)  # Ends the wait for a connection on Linux.
        except OSError:
            with suppress(OSError):
                socket.create_connection(self.socket.getsockname()[:2], timeout=1).close()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; one that cannot be is tried again a little later."""
        try:
            return super().get_request()
        except OSError:
            self._closing.wait(_RETRY_S)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a new thread; the oldest one makes room for it."""
        with self._connections_lock:
            oldest = next(iter(self._connections)) if len(self._connections) == MOST_CONNECTIONS else None
            self._connections.pop(oldest, None)
            self._connections[request] = None
        if oldest is not None:
            with suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)  # Its thread sees the end and closes it.
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self._connections_lock:
            self._connections.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: connections that strangers break are no matter of the run."""


class RequestHandler(BaseHTTPRequestHandler):
    """Reads the request of one connection and answers it, with HTTP 1.0."""

    timeout = SILENCE_S
    server_version = "cluster-sim"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer with head and body."""
        self.serve(self.path.partition("?")[0], has_body=True)

    def do_HEAD(self) -> None:
        """Answer with the head alone."""
        self.serve(self.path.partition("?")[0], has_body=False)

    def serve(self, path: str, *, has_body: bool) -> None:
        """Answer a request for a path."""
        raise NotImplementedError

    def header(self, name: str) -> str:
        """Return a header of the request with all its values; empty if there is none."""
        return ", ".join(self.headers.get_all(name, []))

    def answer(self, status: HTTPStatus, body: bytes, headers: dict[str, str] | None = None, *, has_body: bool) -> None:
        """Send an answer, plain text if ``headers`` say nothing else."""
        self.send_response(status)
        for name, value in (headers or {"Content-Type": "text/plain; charset=utf-8"}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if has_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Log nothing: scrapes come every second."""
