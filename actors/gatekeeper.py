"""Thread that decides who may connect to a socket of a run on several nodes, and counts who may not.

ZeroMQ asks it about every connection that speaks CURVE with the server's key (the ZAP protocol, RFC 27).  Connections
that do not get that far are seen in the socket's own events.  It sleeps while nobody connects, and ends with its
context.
"""

import threading
from typing import Final

import zmq
from zmq.utils.monitor import recv_monitor_message
from zmq.utils.z85 import decode

from actors.dropped_frames import DroppedFrames

_ADDRESS: Final = "inproc://zeromq.zap.01"
_VERSION: Final = b"1.0"
_FAILURES: Final = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)


class Gatekeeper:
    """Admits the holders of one public key to the sockets of one context."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        guarded: "zmq.Socket[bytes]",
        key: bytes,
        dropped: DroppedFrames,
    ) -> None:
        """``key`` is the key's text form (Z85)."""
        self._key = decode(key)
        self._dropped = dropped
        self._requests: zmq.Socket[bytes] = context.socket(zmq.REP)
        self._requests.bind(_ADDRESS)
        events = _FAILURES | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
        self._events: zmq.Socket[bytes] = guarded.get_monitor_socket(events)
        self._failed = self._admitted = self._disconnected = 0
        threading.Thread(target=self._serve, name="gatekeeper", daemon=True).start()

    def _serve(self) -> None:
        poller = zmq.Poller()
        for watched in (self._requests, self._events):
            poller.register(watched, zmq.POLLIN)
        try:
            while True:
                for ready, _ in poller.poll():
                    if ready is self._requests:
                        self._answer()
                    else:
                        self._count(recv_monitor_message(self._events)["event"])
        except zmq.ContextTerminated:
            pass
        finally:
            self._requests.close(0)
            self._events.close(0)

    def _answer(self) -> None:
        version, request, _domain, _address, _identity, mechanism, *credentials = self._requests.recv_multipart()
        is_member = version == _VERSION and mechanism == b"CURVE" and credentials == [self._key]
        status, text = (b"200", b"OK") if is_member else (b"400", b"not a member of this run")
        self._requests.send_multipart([_VERSION, request, status, text, b"", b""])

    def _count(self, event: int) -> None:
        """Count a connection that was closed without being admitted.

        Some failures show only as a disconnection.  Members disconnect too, at the end of a run, so as many
        disconnections as there are members are not counted.
        """
        before = self._strangers()
        self._failed += bool(event & _FAILURES)
        self._admitted += event == zmq.EVENT_HANDSHAKE_SUCCEEDED
        self._disconnected += event == zmq.EVENT_DISCONNECTED
        if self._strangers() > before:
            self._dropped.add("a connection did not authenticate")

    def _strangers(self) -> int:
        return max(self._failed, self._disconnected - self._admitted)
