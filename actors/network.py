"""Network of one run: where its sockets listen, and who may connect to them.

On one node sockets are files in a folder that only the user may enter.  Between nodes they listen at the node's own
address, encrypted and authenticated (CURVE) by a key pair that is made for the run and reaches its actors through Ray.
"""

import os
import resource
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import zmq

from actors.dropped_frames import DroppedFrames
from actors.gatekeeper import Gatekeeper
from cluster_sim.engine.loop import ProtocolError
from cluster_sim.errors import InputError, UnfinishedError
from cluster_sim.own_folder import own_folder

LOOPBACK: Final = "127.0.0.1"
LARGEST_FRAME_BYTES: Final = 256 << 20
"""Nobody sends a larger frame; a peer that announces one is disconnected before anything of it is kept."""
_ENVELOPE_BYTES: Final = 1024
"""More than ZeroMQ adds to a frame."""
_LINGER_MS: Final = 2_000
"""How long a closed socket still tries to deliver its last frames."""
_HANDSHAKE_MS: Final = 10_000
"""Within this time a connection must have authenticated."""
_UNLIMITED: Final = 0
_LONGEST_FOLDER: Final = 60
"""A socket's path has 107 bytes at most."""


class Listener:
    """A bound socket, its endpoint, and the count of what it dropped."""

    def __init__(
        self,
        bound: "zmq.Socket[bytes]",
        endpoint: str,
        dropped: DroppedFrames,
        context: "zmq.Context[zmq.Socket[bytes]] | None" = None,
    ) -> None:
        """``context`` is the socket's own, which ends with it."""
        self.socket = bound
        self.endpoint = endpoint
        self.dropped = dropped
        self._context = context

    def close(self) -> None:
        """Close the socket; frames already sent are still delivered."""
        self.socket.close()
        if self._context is not None:
            self._context.term()
        self.dropped.close()


class Network(Protocol):
    """How the sockets of one run reach each other; plain data that travels to every actor."""

    def listen(self, kind: int, name: str) -> Listener:
        """Return a bound socket; ProtocolError if there is no place to listen."""

    def connect(self, connecting: "zmq.Socket[bytes]", endpoint: str) -> None:
        """Connect a socket to the endpoint of a listener of the same run."""


@dataclass(frozen=True, slots=True)
class LocalNetwork:
    """Sockets of one node: files in a folder that only this user may enter."""

    folder: str

    def listen(self, kind: int, name: str) -> Listener:
        """Return a socket that listens at the file ``name``."""
        endpoint = f"ipc://{self.folder}/{name}"
        bound = new_socket(kind)
        try:
            folder = Path(self.folder).stat()
            if folder.st_uid != os.geteuid() or folder.st_mode & 0o077:
                raise ProtocolError(f"{self.folder}: other users may enter this folder, so no socket is opened in it")
            bound.bind(endpoint)
        except (OSError, zmq.ZMQError) as error:
            bound.close(0)
            raise ProtocolError(f"cannot listen at {endpoint}: {error}") from error
        return Listener(bound, endpoint, DroppedFrames(name))

    def connect(self, connecting: "zmq.Socket[bytes]", endpoint: str) -> None:
        """Connect a socket."""
        connecting.connect(endpoint)


@dataclass(frozen=True, slots=True)
class RunKeys:
    """The CURVE key pair of one run, which every actor of it has; never part of a message."""

    public: bytes = field(repr=False)
    secret: bytes = field(repr=False)


def new_keys() -> RunKeys:
    """Return the keys of a new run; InputError if ZeroMQ was built without CURVE."""
    if not zmq.has("curve"):
        raise InputError(
            "the installed pyzmq cannot encrypt (it lacks CURVE), and a run on several nodes needs that; "
            "install pyzmq's wheel from PyPI on every node"
        )
    return RunKeys(*zmq.curve_keypair())


@dataclass(frozen=True, slots=True)
class ClusterNetwork:
    """Sockets between nodes: TCP at each node's own address, for the holders of the run's keys."""

    host: str
    """Address of the router's node."""
    port_range: tuple[int, int]
    keys: RunKeys = field(repr=False)

    def listen(self, kind: int, name: str) -> Listener:
        """Return a socket that listens at a free port of the range; InputError if none is free."""
        _allow_many_connections()
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        bound = new_socket(kind, context)
        bound.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
        bound.setsockopt(zmq.ZAP_DOMAIN, b"cluster-sim")
        bound.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        bound.setsockopt(zmq.CURVE_SERVER, 1)
        bound.setsockopt(zmq.CURVE_SECRETKEY, self.keys.secret)
        dropped = DroppedFrames(name)
        Gatekeeper(context, bound, self.keys.public, dropped)
        try:
            endpoint = self._bind(bound)
        except InputError:
            bound.close(0)
            context.term()
            raise
        return Listener(bound, endpoint, dropped, context)

    def connect(self, connecting: "zmq.Socket[bytes]", endpoint: str) -> None:
        """Connect a socket."""
        connecting.setsockopt(zmq.CURVE_SERVERKEY, self.keys.public)
        connecting.setsockopt(zmq.CURVE_PUBLICKEY, self.keys.public)
        connecting.setsockopt(zmq.CURVE_SECRETKEY, self.keys.secret)
        connecting.connect(endpoint)

    def _bind(self, bound: "zmq.Socket[bytes]") -> str:
        first, last = self.port_range
        host = own_address(self.host)
        try:
            port = bound.bind_to_random_port(f"tcp://{host}", first, last + 1, max_tries=4 * (last - first + 1))
        except (zmq.ZMQError, zmq.ZMQBindError) as error:
            raise InputError(
                f"run.port_range: none of the ports {first} to {last} is free at {host} ({error}); give a wider range"
            ) from error
        return f"tcp://{host}:{port}"


@contextmanager
def open_network(host: str | None, port_range: tuple[int, int]) -> Iterator[Network]:
    """Yield the network of a new run, on this node (``host`` None) or between nodes, the router's being ``host``.

    Raises InputError if runs between nodes cannot be protected, UnfinishedError if there is no place for the sockets.
    """
    if host is not None:
        yield ClusterNetwork(host, port_range, new_keys())
        return
    place = socket_place()
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(own_folder("run", place))
        except OSError as error:
            raise UnfinishedError(f"the run's sockets have no place in {place}: {error.strerror or error}") from error
        yield LocalNetwork(str(folder))


def socket_place() -> Path:
    """Return where folders with sockets may lie, whose paths are limited."""
    place = tempfile.gettempdir()
    return Path(place if len(place) <= _LONGEST_FOLDER else "/tmp")  # noqa: S108 - folders in it are the user's alone


def _allow_many_connections() -> None:
    """Let this process have as many descriptors as it may: until they time out, connections of strangers take some."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def own_address(peer: str) -> str:
    """Return the address of this machine that the machine at ``peer`` can reach; nothing is sent."""
    if peer == LOOPBACK:
        return LOOPBACK
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((peer, 9))
        address: str = probe.getsockname()[0]
    return address


def new_socket(kind: int, context: "zmq.Context[zmq.Socket[bytes]] | None" = None) -> "zmq.Socket[bytes]":
    """Return a socket of a context, by default the process's own, that never drops a frame of a member."""
    made: zmq.Socket[bytes] = (context or zmq.Context.instance()).socket(kind)
    made.setsockopt(zmq.LINGER, _LINGER_MS)
    made.setsockopt(zmq.SNDHWM, _UNLIMITED)
    made.setsockopt(zmq.RCVHWM, _UNLIMITED)
    made.setsockopt(zmq.MAXMSGSIZE, LARGEST_FRAME_BYTES + _ENVELOPE_BYTES)
    return made
