"""ZeroMQ sockets between the router's process and the actors: one ROUTER at the hub, one DEALER per group of replicas.

Frames go straight from process to process; Ray only places and watches them.  Every wait has a limit and ends in an
error that says who waits for whom; nothing spins, because hub and actors share the machine's cores.  A frame that is
not of this run is dropped and counted, never an error.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import zmq

from actors.codec import Codec, FrameError
from actors.dropped_frames import DroppedFrames
from actors.frames import (
    ForeignFrameError,
    FrameKind,
    GapError,
    Link,
    pack_reply,
    pack_window,
    unpack_reply,
    unpack_window,
)
from actors.network import Network, new_socket
from cluster_sim.engine.group import Reply, Window
from cluster_sim.engine.instant import NEVER, Instant
from cluster_sim.engine.loop import ProtocolError


class BrokenLinkError(ProtocolError):
    """Frames of a link were lost or damaged, or do not come: nothing is wrong with the run, which may begin anew."""


class UnreachableError(BrokenLinkError):
    """The other end of a link is gone: its process has died, which Ray says a little later."""


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

    run: str = field(repr=False)
    """The run's name on the wire, known to its actors only."""
    network: Network
    epoch: int = 0
    limits: WaitLimits = WaitLimits()


def received(
    socket: "zmq.Socket[bytes]", link: Link, dropped: DroppedFrames, flags: int = 0
) -> tuple[FrameKind, Any] | None:
    """Return (kind, body) of the next frame of a link; None if it was a stranger's, which is counted and dropped.

    Raises FrameError if it is a frame of this run, but not the one expected.
    """
    parts = socket.recv_multipart(flags)
    if len(parts) != 1:
        dropped.add("a frame of several parts")
        return None
    try:
        return link.open(parts[0])
    except ForeignFrameError as error:
        dropped.add(str(error))
        return None


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
        self._owing: dict[int, float] = {}
        """When each group that owes a reply was called, on the clock of this process."""
        self._windows = [0] * len(groups)
        """Number of the last window of each group."""
        self._indices = {name: index for index, name in enumerate(self._names)}
        self._listener = settings.network.listen(zmq.ROUTER, "router")
        self._dropped = self._listener.dropped
        self._socket = self._listener.socket
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self.endpoint = self._listener.endpoint
        self.sent_bytes = 0
        self.received_bytes = 0
        self.waited_s = 0.0
        """Wall time spent in receiving, which waits until a frame is there."""
        self.describe: Callable[[], str] = lambda: "the run has not started"
        """Says who waits for whom; the coordinator's, once there is one."""

    def await_groups(self) -> None:
        """Wait until every group has said hello with exactly the replicas that it should hold."""
        missing = set(range(len(self._groups)))
        limit_s = self._settings.limits.start_s
        set_limit(self._socket, limit_s)
        while missing:
            try:
                taken = self._receive()
            except zmq.Again:
                raise ProtocolError(
                    f"the router waited {limit_s:g} s for actors {sorted(missing)[:8]} "
                    f"({len(missing)} of {len(self._groups)}) to connect to {self.endpoint}{self._dropped.remark()}"
                ) from None
            if taken is None:
                continue
            index, kind, body = taken
            if kind is not FrameKind.HELLO or body != self._groups[index]:
                raise ProtocolError(f"actor {index} said {kind.name} {body!r}, expected HELLO {self._groups[index]!r}")
            missing.discard(index)
        set_limit(self._socket, self._settings.limits.reply_s)

    def send(self, windows: dict[int, Window]) -> None:
        """Send each group its window."""
        for index, window in windows.items():
            self._owing[index] = time.monotonic()
            self._windows[index] = window.number
            self._send(index, FrameKind.WINDOW, pack_window(self._codec, window))

    def collect(self) -> list[tuple[int, Reply]]:
        """Return every reply that has arrived, waiting for the first; ProtocolError if none comes in time."""
        replies: list[tuple[int, Reply]] = []
        limit_s = self._settings.limits.reply_s
        # Asking for the socket's events costs less than a receive that fails.
        while not replies or self._has_more():
            try:
                taken = self._receive()
            except zmq.Again:
                owing = ", ".join(f"actor {index} (window {self._windows[index]})" for index in sorted(self._owing))
                raise BrokenLinkError(
                    f"the router waited {limit_s:g} s for a reply of {owing}: {self.describe()}{self._dropped.remark()}"
                ) from None
            if taken is None:
                continue
            index, kind, body = taken
            if kind is not FrameKind.REPLY:
                raise ProtocolError(f"actor {index} sent {kind.name}, expected REPLY: {self.describe()}")
            replies.append((index, unpack_reply(self._codec, body)))
            self._owing.pop(index, None)
        return replies

    def waits_s(self) -> dict[int, float]:
        """Return for how long each group has owed a reply; another thread may ask."""
        now_s = time.monotonic()
        return {index: now_s - called_s for index, called_s in self._owing.copy().items()}

    def _has_more(self) -> bool:
        events = self._socket.getsockopt(zmq.EVENTS)
        return isinstance(events, int) and bool(events & zmq.POLLIN)

    def stop(self, end: Instant) -> None:
        """Tell every group that the run ends at ``end``."""
        for index in range(len(self._groups)):
            self._send(index, FrameKind.STOP, end)

    def close(self) -> None:
        """Close the socket; frames already sent are still delivered."""
        self._listener.close()

    @property
    def dropped_frames(self) -> int:
        """How many frames or connections of strangers were dropped so far."""
        return self._dropped.count

    def _send(self, index: int, kind: FrameKind, body: object) -> None:
        try:
            frame = self._links[index].seal(kind, body)
            self.sent_bytes += len(frame)
            self._socket.send_multipart((self._names[index], frame))
        except zmq.ZMQError as error:
            text = f"actor {index} cannot be reached after window {self._windows[index]}: {error}; {self.describe()}"
            raise UnreachableError(text) from error

    def _receive(self) -> tuple[int, FrameKind, object] | None:
        """Return the next frame with the number of its group; None if it was a stranger's, which is dropped."""
        began_s = time.monotonic()
        name, *parts = self._socket.recv_multipart()
        self.waited_s += time.monotonic() - began_s
        index = self._indices.get(name)
        if index is None or len(parts) != 1:
            self._dropped.add("a frame of a peer that is no actor of the run, or of several parts")
            return None
        self.received_bytes += len(parts[0])
        try:
            kind, body = self._links[index].open(parts[0])
        except ForeignFrameError as error:
            self._dropped.add(str(error))
            return None
        except FrameError as error:
            raised = BrokenLinkError if isinstance(error, GapError) else ProtocolError
            text = f"a frame of actor {index} was refused after window {self._windows[index]}: {error}"
            raise raised(text + self._dropped.remark()) from error
        if kind is FrameKind.ERROR:
            raise ProtocolError(f"actor {index} failed: {body}")
        if kind is FrameKind.BROKEN:
            raise BrokenLinkError(f"actor {index}, called to window {self._windows[index]}: {body}")
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
        settings.network.connect(self.socket, endpoint)
        self._dropped = DroppedFrames(f"actor {index}")

    def hello(self, sources: Sequence[int]) -> None:
        """Tell the hub the sources of the replicas here."""
        self.socket.send(self._link.seal(FrameKind.HELLO, list(sources)))

    def receive(self) -> Window | Instant:
        """Return the next window, or the instant at which the run ends; ProtocolError when none comes in time."""
        opened = None
        while opened is None:
            try:
                opened = received(self.socket, self._link, self._dropped)
            except zmq.Again:
                raise BrokenLinkError(
                    f"actor {self._index} waited {self._settings.limits.idle_s:g} s for the router at "
                    f"{self._endpoint}, and its last answer was to window {self._answered}{self._dropped.remark()}"
                ) from None
            except GapError as error:
                raise BrokenLinkError(
                    f"actor {self._index} lost a frame of the router after window {self._answered}: {error}"
                    f"{self._dropped.remark()}"
                ) from error
        kind, body = opened
        if kind is FrameKind.WINDOW:
            return unpack_window(self._codec, body)
        if kind is FrameKind.STOP and type(body) is int and 0 <= body <= NEVER:
            return body
        raise FrameError(f"actor {self._index} was sent {kind.name} {body!r}, expected a window or the end")

    def reply(self, reply: Reply) -> None:
        """Answer a window."""
        self.socket.send(self._link.seal(FrameKind.REPLY, pack_reply(self._codec, reply)))
        self._answered = reply.number

    def fail(self, text: str, *, is_broken: bool = False) -> None:
        """Tell the hub that this group cannot go on; ``is_broken`` if only a link is."""
        self.socket.send(self._link.seal(FrameKind.BROKEN if is_broken else FrameKind.ERROR, text))

    def close(self) -> None:
        """Close the socket; frames already sent are still delivered."""
        self.socket.close()
        self._dropped.close()


def _name(index: int) -> bytes:
    """Return a group's ZeroMQ identity; a leading zero byte would be reserved."""
    return b"G" + index.to_bytes(4, "little")
