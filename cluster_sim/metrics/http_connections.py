"""HTTP connections of the metrics server: few, short, and cheap for the run beside them.

Design.  The event loop's thread holds the interpreter's lock nearly all the time, so that each call after which another
thread takes it again costs that thread a wait and both a switch.  Nothing is polled therefore, a connection is read
and answered in one call each, and threads begin without the handshake of ``threading.Thread``: beside a run of 64
replicas a scrape takes half the CPU time that it takes with Python's ``http.server``.
"""

import _thread
import socket
import socketserver
import threading
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus
from struct import Struct
from typing import Any, ClassVar, Final

SILENCE_S: Final = 5.0
"""How long a connection may wait for the other side, to say something or to read."""
MOST_CONNECTIONS: Final = 64
"""Connections that are open at once; a new one then takes the place of the oldest."""

_US_PER_S: Final = 1_000_000
_TIME: Final = Struct("@ll")
"""``struct timeval``: seconds and microseconds."""
_MOST_OF_HEAD: Final = 65_536
"""Bytes of a request up to its empty line."""
_ONE_CALL: Final = 1 << 19
"""Bytes of an answer that is sent in one call, for which head and body are put together."""
_RETRY_S: Final = 0.05
"""Wait after a connection that could not be accepted, as when there are no file descriptors left."""


class HttpServer(socketserver.TCPServer):
    """Accepts connections, each in a thread of its own, and prints nothing."""

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: Any) -> None:
        self._connections: dict[Any, None] = {}
        """Open connections, the oldest first."""
        self._connections_lock = threading.Lock()
        self._closing = threading.Event()
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, handler)

    def accept_connections(self) -> None:
        """Accept connections until ``stop`` is called, without a look at the clock now and then."""
        while not self._closing.is_set():
            try:
                self.process_request(*self.get_request())
            except OSError:
                self._closing.wait(_RETRY_S)

    def stop(self) -> None:
        """Let ``accept_connections`` return."""
        self._closing.set()
        try:
            self.socket.shutdown(socket.SHUT_RDWR)  # Ends the wait for a connection on Linux.
        except OSError:
            with suppress(OSError):
                socket.create_connection(self.socket.getsockname()[:2], timeout=1).close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a new thread; the oldest one makes room for it."""
        with self._connections_lock:
            oldest = next(iter(self._connections)) if len(self._connections) == MOST_CONNECTIONS else None
            self._connections.pop(oldest, None)
            self._connections[request] = None
        if oldest is not None:
            with suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)  # Its thread sees the end and closes it.
        try:
            _thread.start_new_thread(self._serve, (request, client_address))
        except RuntimeError:  # No more threads.
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self._connections_lock:
            self._connections.pop(request, None)
        self.close_request(request)

    def _serve(self, request: Any, client_address: Any) -> None:
        try:
            # Connections that strangers break are no matter of the run.
            with suppress(Exception):
                self.finish_request(request, client_address)
        finally:
            self.shutdown_request(request)


class RequestHandler(socketserver.BaseRequestHandler):
    """Reads the request of one connection and answers it, with HTTP 1.0; silence and nonsense get no answer."""

    timeout: ClassVar[float] = SILENCE_S

    def handle(self) -> None:
        """Read the request and have it answered."""
        limit = _TIME.pack(*divmod(round(self.timeout * _US_PER_S), _US_PER_S))
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):  # A timeout of Python's takes two more calls to wait.
            self.request.setsockopt(socket.SOL_SOCKET, option, limit)
        head = self._head()
        if head is None:
            return
        first, *lines = head.decode("latin-1").splitlines()
        words = first.split()
        if len(words) != 3 or not words[2].startswith("HTTP/"):
            self.answer(HTTPStatus.BAD_REQUEST, b"not a request of HTTP\n")
        elif words[0] not in {"GET", "HEAD"}:
            self.answer(HTTPStatus.NOT_IMPLEMENTED, b"only GET and HEAD are served\n")
        else:
            self.serve(words[1].partition("?")[0], _headers(lines), has_body=words[0] == "GET")

    def serve(self, path: str, headers: dict[str, str], *, has_body: bool) -> None:
        """Answer a request; names of ``headers`` are in lower case."""
        raise NotImplementedError

    def answer(
        self, status: HTTPStatus, body: bytes, headers: dict[str, str] | None = None, *, has_body: bool = True
    ) -> None:
        """Send an answer, plain text if ``headers`` say nothing else."""
        lines = [
            f"HTTP/1.0 {status.value} {status.phrase}",
            "Server: cluster-sim",
            f"Date: {formatdate(usegmt=True)}",
            *(f"{name}: {value}" for name, value in (headers or {"Content-Type": "text/plain; charset=utf-8"}).items()),
            f"Content-Length: {len(body)}",
        ]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        if not has_body:
            body = b""
        if len(body) <= _ONE_CALL:
            head, body = head + body, b""
        for part in filter(None, (head, body)):
            self.request.sendall(part)

    def _head(self) -> bytes | None:
        """Return the request up to its empty line; None if the other side ends before, or sends too much."""
        head = b""
        while len(head) <= _MOST_OF_HEAD:
            part = self.request.recv(_MOST_OF_HEAD)
            if not part:
                return None
            head += part
            for end in (b"\r\n\r\n", b"\n\n"):
                if end in head:
                    return head.partition(end)[0] or None
        return None


def _headers(lines: list[str]) -> dict[str, str]:
    """Return the headers of a request; a header that stands there several times has all its values."""
    found: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name = name.strip().lower()
        found[name] = f"{found[name]}, {value.strip()}" if name in found else value.strip()
    return found
