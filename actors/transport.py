"""ZeroMQ sockets between the router's process and the actors: one ROUTER at the hub, one DEALER per group of replicas.

Frames go straight from process to process; Ray only places and watches them.  Every wait has a limit and ends in an
error that says who waits for whom; nothing spins, because hub and actors share the machine's cores.
"""

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import zmq

from actors.codec import Codec, FrameError
from actors.frames import FrameKind, Link, pack_reply, pack_window, unpack_reply, unpack_window
from cluster_sim.engine.group import Reply, Window
from cluster_sim.engine.instant import NEVER, Instant
from cluster_sim.engine.loop import ProtocolError

LOOPBACK: Final = "127.0.0.1"
_LINGER_MS: Final = 2_000
"""How long a closed socket still tries to deliver its last frames."""
_UNLIMITED: Final = 0


@dataclass(frozen=True, slots=True)
class WaitLimits:
    """The longest waits, in seconds of wall time."""

    start_s: float = 120.0
    """Until every actor is placed, built and connected."""
    reply_s: float = 300.0
    """Until an actor that was called answers."""
    idle_s: float = 3_600.0
    """Until the hub calls an actor again: a run paced by the wall clock may be silent for long."""


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """Settings that both ends of every link of one run share, plain data."""

    run: str
    epoch: int = 0
    limits: WaitLimits = WaitLimits()
    host: str = LOOPBACK
    """Address of the router's node: loopback if the whole cluster is one machine."""
    port_range: tuple[int, int] = (20000, 29999)


def own_address(peer: str) -> str:
    """Return the address of this machine that the machine at ``peer`` can reach; nothing is sent."""
    if peer == LOOPBACK:
        return LOOPBACK
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((peer, 9))
        address: str = probe.getsockname()[0]
    return address


def bind_in_range(bound: "zmq.Socket[bytes]", settings: LinkSettings) -> str:
    """Bind to a free port of the range and return the endpoint; ProtocolError if none is free."""
    first, last = settings.port_range
    host = own_address(settings.host)
    try:
        port = bound.bind_to_random_port(f"tcp://{host}", first, last + 1, max_tries=4 * (last - first + 1))
    except (zmq.ZMQError, zmq.ZMQBindError) as error:
        raise ProtocolError(f"no port to listen on at {host} in run.port_range [{first}, {last}]: {error}") from error
    return f"tcp://{host}:{port}"


def new_socket(kind: int) -> "zmq.Socket[bytes]":
    """Return a socket of the process's context that never drops a frame."""
    made: zmq.Socket[bytes] = zmq.Context.instance().socket(kind)
    made.setsockopt(zmq.LINGER, _LINGER_MS)
    made.setsockopt(zmq.SNDHWM, _UNLIMITED)
    made.setsockopt(zmq.RCVHWM, _UNLIMITED)
    return made


def is_readable(watched: "zmq.Socket[bytes]", limit_s: float) -> bool:
    """Wait up to ``limit_s`` seconds; return whether a frame is there."""
    return bool(watched.poll(round(limit_s * 1e3)))


def set_limit(receiving: "zmq.Socket[bytes]", limit_s: float) -> None:
    """Make every receive of a socket raise ``zmq.Again`` after ``limit_s`` seconds."""
    receiving.setsockopt(zmq.RCVTIMEO, round(limit_s * 1e3))


class HubSocket:
    """The hub's end of all links: the ``Exchange`` of the Ray executor."""

    def __init__(self, settings: LinkSettings, codec: Codec, groups: Sequence[Sequence[int]]) -> None:
        """``groups`` lists the sources of the replicas that each group holds."""
        self._settings = settings
        self._codec = codec
        self._groups = [list(members) for members in groups]
        self._links = [Link(settings.run, settings.epoch, index) for index in range(len(groups))]
        self._names = [_name(index) for index in range(len(groups))]
        self._owing: set[int] = set()
        self._socket = new_socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self.endpoint = bind_in_range(self._socket, settings)
        self.describe: Callable[[], str] = lambda: "the run has not started"
        """Says who waits for whom; the coordinator's, once there is one."""

    def await_groups(self) -> None:
        """Wait until every group has said hello with exactly the replicas that it should hold."""
        missing = set(range(len(self._groups)))
        limit_s = self._settings.limits.start_s
        set_limit(self._socket, limit_s)
        while missing:
            try:
                index, kind, body = self._receive()
            except zmq.Again:
                raise ProtocolError(
                    f"the router waited {limit_s:g} s for actors {sorted(missing)[:8]} "
                    f"({len(missing)} of {len(self._groups)}) to connect to {self.endpoint}"
                ) from None
            if kind is not FrameKind.HELLO or body != self._groups[index]:
                raise ProtocolError(f"actor {index} said {kind.name} {body!r}, expected HELLO {self._groups[index]!r}")
            missing.discard(index)
        set_limit(self._socket, self._settings.limits.reply_s)

    def send(self, windows: dict[int, Window]) -> None:
        """Send each group its window."""
        for index, window in windows.items():
            self._owing.add(index)
            self._send(index, FrameKind.WINDOW, pack_window(self._codec, window))

    def collect(self) -> list[tuple[int, Reply]]:
        """Return every reply that has arrived, waiting for the first; ProtocolError if none comes in time."""
        replies: list[tuple[int, Reply]] = []
        limit_s = self._settings.limits.reply_s
        # Asking for the socket's events costs less than a receive that fails.
        while not replies or self._has_more():
            try:
                index, kind, body = self._receive()
            except zmq.Again:
                raise ProtocolError(
                    f"the router waited {limit_s:g} s for a reply of actors {sorted(self._owing)}: {self.describe()}"
                ) from None
            if kind is not FrameKind.REPLY:
                raise ProtocolError(f"actor {index} sent {kind.name}, expected REPLY: {self.describe()}")
            replies.append((index, unpack_reply(self._codec, body)))
            self._owing.discard(index)
        return replies

    def _has_more(self) -> bool:
        events = self._socket.getsockopt(zmq.EVENTS)
        return isinstance(events, int) and bool(events & zmq.POLLIN)

    def stop(self, end: Instant) -> None:
        """Tell every group that the run ends at ``end``."""
        for index in range(len(self._groups)):
            self._send(index, FrameKind.STOP, end)

    def close(self) -> None:
        """Close the socket; frames already sent are still delivered."""
        self._socket.close()

    def _send(self, index: int, kind: FrameKind, body: object) -> None:
        try:
            self._socket.send_multipart((self._names[index], self._links[index].seal(kind, body)))
        except zmq.ZMQError as error:
            raise ProtocolError(f"actor {index} cannot be reached: {error}; {self.describe()}") from error

    def _receive(self) -> tuple[int, FrameKind, object]:
        name, frame = self._socket.recv_multipart()
        index = int.from_bytes(name[1:], "little")
        if index >= len(self._groups):
            raise ProtocolError(f"a frame came from actor {index}, the run has {len(self._groups)}")
        try:
            kind, body = self._links[index].open(frame)
        except FrameError as error:
            raise ProtocolError(f"a frame of actor {index} was refused: {error}") from error
        if kind is FrameKind.ERROR:
            raise ProtocolError(f"actor {index} failed: {body}")
        return index, kind, body


class GroupSocket:
    """One group's end of its link to the hub."""

    def __init__(self, settings: LinkSettings, codec: Codec, index: int, endpoint: str) -> None:
        self._settings = settings
        self._codec = codec
        self._index = index
        self._endpoint = endpoint
        self._link = Link(settings.run, settings.epoch, index)
        self._answered = 0
        self.socket = new_socket(zmq.DEALER)
        self.socket.setsockopt(zmq.IDENTITY, _name(index))
        set_limit(self.socket, settings.limits.idle_s)
        self.socket.connect(endpoint)

    def hello(self, sources: Sequence[int]) -> None:
        """Tell the hub the sources of the replicas here."""
        self.socket.send(self._link.seal(FrameKind.HELLO, list(sources)))

    def receive(self) -> Window | Instant:
        """Return the next window, or the instant at which the run ends; ProtocolError when none comes in time."""
        try:
            frame = self.socket.recv()
        except zmq.Again:
            raise ProtocolError(
                f"actor {self._index} waited {self._settings.limits.idle_s:g} s for the router at {self._endpoint}, "
                f"and its last answer was to window {self._answered}"
            ) from None
        kind, body = self._link.open(frame)
        if kind is FrameKind.WINDOW:
            return unpack_window(self._codec, body)
        if kind is FrameKind.STOP and type(body) is int and 0 <= body <= NEVER:
            return body
        raise FrameError(f"actor {self._index} was sent {kind.name} {body!r}, expected a window or the end")

    def reply(self, reply: Reply) -> None:
        """Answer a window."""
        self.socket.send(self._link.seal(FrameKind.REPLY, pack_reply(self._codec, reply)))
        self._answered = reply.number

    def fail(self, text: str) -> None:
        """Tell the hub that this group cannot go on."""
        self.socket.send(self._link.seal(FrameKind.ERROR, text))

    def close(self) -> None:
        """Close the socket; frames already sent are still delivered."""
        self.socket.close()


def _name(index: int) -> bytes:
    """Return a group's ZeroMQ identity; a leading zero byte would be reserved."""
    return b"G" + index.to_bytes(4, "little")
