"""Strangers at the TCP sockets of a run: raw connections, and ZeroMQ sockets of every kind."""

import socket as sockets
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import zmq

from actors.frames import FrameKind, Link
from actors.network import new_keys

GREETING = b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x01"
"""The beginning of ZMTP 3.1."""

RAW_OPENINGS: tuple[bytes, ...] = (
    b"\x00",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x01\x00" * 200,
    GREETING + b"NULL".ljust(20, b"\0") + bytes(32) + b"\x04\x05READY",
    GREETING + b"CURVE".ljust(20, b"\0") + bytes(32) + b"\x04\xc8\x05HELLO\x01\x00" + bytes(192),
    GREETING + b"CURVE".ljust(20, b"\0") + bytes(32) + b"\x02" + struct.pack(">Q", 1 << 62),
    GREETING + b"PLAIN".ljust(20, b"\0") + bytes(32) + b"\x04\x0f\x05HELLO\x01a\x01b",
    Link("guess", 0, 0).seal(FrameKind.REPLY, [1, 2, 0, b"", [b""], None]),
)
"""First bytes of connections."""


def address_of(endpoint: str) -> tuple[str, int]:
    """Return host and port of an endpoint."""
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    return host, int(port)


@contextmanager
def raw_connections(endpoint: str, count: int) -> Iterator[None]:
    """Hold open connections that sent the openings in turn, every seventh of which was closed with a reset."""
    with ExitStack() as stack:
        for index in range(count):
            connection = stack.enter_context(sockets.create_connection(address_of(endpoint), timeout=10))
            with suppress(OSError):
                connection.sendall(RAW_OPENINGS[index % len(RAW_OPENINGS)])
            if index % 7 == 0:
                connection.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
        yield


@contextmanager
def zeromq_strangers(endpoint: str, frames: int) -> Iterator[None]:
    """Hold sockets of every kind connected to an endpoint, without keys and with their own, that send frames."""
    with ExitStack() as stack:
        context = stack.enter_context(zmq.Context())
        for kind in (zmq.DEALER, zmq.PUSH, zmq.REQ, zmq.ROUTER, zmq.PULL, zmq.PUB, zmq.PAIR, zmq.STREAM):
            for has_keys in (False, True):
                made: zmq.Socket[bytes] = stack.enter_context(context.socket(kind))
                made.setsockopt(zmq.LINGER, 0)
                if kind in (zmq.DEALER, zmq.ROUTER):
                    made.setsockopt(zmq.IDENTITY, b"G\x00\x00\x00\x00")
                if has_keys and kind != zmq.STREAM:
                    keys, server = new_keys(), new_keys()
                    made.setsockopt(zmq.CURVE_SERVERKEY, server.public)
                    made.setsockopt(zmq.CURVE_PUBLICKEY, keys.public)
                    made.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
                made.connect(endpoint)
                link = Link("guess", 0, 0)
                for _ in range(frames):
                    with suppress(zmq.ZMQError):
                        made.send(link.seal(FrameKind.REPLY, [1, 2, 0, b"", [b""], None]), zmq.NOBLOCK)
        yield
