"""Connection to a Ray cluster: joins one, or starts one for the duration of a run."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryFile
from typing import Final

import ray

from actors.environment import prepare_ray
from actors.network import socket_place
from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.own_folder import own_folder

REACH_S: Final = 5.0
"""How long an address may take to accept a connection."""
_SETTINGS: Final = 4
"""Type of the frame with which both sides of HTTP/2 begin (RFC 9113, 6.5)."""
_STDERR: Final = 2
_ABOUT_LEVEL: Final = b"RAY_BACKEND_LOG_LEVEL"
"""What Ray prints one line about, because it is set, as the last before it is silent."""
OBJECT_STORE_BYTES: Final = 256 << 20
"""Object store of a local cluster: results are small, and containers have little shared memory."""


@contextmanager
def ray_cluster(address: str | None, num_cpus: int | None = None) -> Iterator[None]:
    """Connect this process to Ray while the context lasts.

    ``address`` joins a running cluster (``HOST:PORT``, or ``auto`` for the one on this machine); None starts one here
    with ``num_cpus`` CPUs (default: all) and stops it at the end.  Inside a process that is connected already the
    connection is left as it is.  Raises ``InputError`` for an address at which no cluster answers, ``UnfinishedError``
    if the local cluster does not start.
    """
    if ray.is_initialized():
        yield
        return
    prepare_ray(address)
    with ExitStack() as stack:
        with _kept_signals(), _quiet():
            if address is None:
                _start(num_cpus, stack)
            else:
                _join(address)
        stack.callback(ray.shutdown)
        yield


def _start(num_cpus: int | None, stack: ExitStack) -> None:
    """Start a local cluster, whose files go to a folder that ``stack`` removes at the end."""
    try:
        ray.init(
            _temp_dir=str(stack.enter_context(own_folder("ray", socket_place()))),
            address="local",
            num_cpus=num_cpus,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except Exception as error:  # A node that is not up in time is a plain Exception of Ray's.
        raise UnfinishedError(f"a local Ray cluster did not start: {error}") from error


def _greet(connection: socket.socket) -> None:
    """Raise OSError if the other side does not speak HTTP/2 as a Ray head does; Ray itself would try for minutes."""
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, _SETTINGS, 0, 0, 0, 0, 0]))
    answer = connection.recv(9)
    if len(answer) < 9 or answer[3] != _SETTINGS:
        raise OSError("something else listens at this port")


@contextmanager
def _kept_signals() -> Iterator[None]:
    """Keep the handlers of signals that end a process: Ray sets its own, which leave a traceback and no clean end."""
    is_main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)} if is_main else {}
    yield
    for number, handler in handlers.items():
        if handler is not None:  # None: a handler that no Python code set, which nobody else can set either.
            signal.signal(number, handler)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what Ray would print of any part of the cluster off the screen: it has no setting for it.

    The run says itself what it loses.
    """
    worker = ray._private.worker  # noqa: SLF001
    listen = worker.listen_error_messages
    worker.listen_error_messages = lambda *_: None
    try:
        with _without_lines_of(_ABOUT_LEVEL):
            yield
    finally:
        worker.listen_error_messages = listen


@contextmanager
def _without_lines_of(subject: bytes) -> Iterator[None]:
    """Hold what this process and Ray's libraries print as errors, and let it go at the end but for one subject."""
    with TemporaryFile() as held:
        kept = os.dup(_STDERR)
        os.dup2(held.fileno(), _STDERR)
        try:
            yield
        finally:
            os.dup2(kept, _STDERR)
            os.close(kept)
            held.seek(0)
            for line in held:
                if subject not in line:
                    os.write(_STDERR, line)


def _join(address: str) -> None:
    if address.startswith("ray://"):
        raise InputError(
            f"--address {address}: a Ray Client connection cannot put the router beside its files; run this on a node "
            "of the cluster with HOST:PORT of its head, or as a Ray job with auto"
        )
    if address != "auto":
        host, separator, port = address.rpartition(":")
        if not separator or not port.isdecimal() or not 0 < int(port) < 65536:
            raise InputError(f"--address {address}: must be HOST:PORT, for example 10.0.0.1:6379, or auto")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_S) as connection:
                if not os.environ.get("RAY_USE_TLS"):
                    _greet(connection)
        except OSError as error:
            raise InputError(f"--address {address}: no Ray cluster answers there ({error.strerror or error})") from None
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (RuntimeError, ConnectionError, TimeoutError, OSError, ValueError) as error:
        raise InputError(
            f"--address {address}: cannot join the Ray cluster there: {error}; this machine must run a Ray node of "
            "the same version (ray start --address=...), with the cluster's RAY_AUTH_TOKEN if it has one"
        ) from error
