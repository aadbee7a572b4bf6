"""Frames between the actors, with every check on receipt.

A frame is a msgpack array ``[header, checksum, body]``.  The header says whose frame it is (magic, version, run, epoch,
kind, peer, sequence), the checksum is the CRC-32 of header and body, the body holds columns (``actors.codec``).
Nothing of a frame is used before all of it is checked.  Bytes that are not a whole frame of this run raise
ForeignFrameError: the receiver drops them, whoever sent them, and frames that come twice.  A frame of this run that is
of another release or of an epoch that is over raises FrameError with the value that came and the one expected, one that
comes too early GapError.
"""

import zlib
from enum import IntEnum
from typing import Any, Final, NamedTuple

import msgpack

from actors.codec import INT, Codec, FrameError, pack_block, pack_column, unpack_block, unpack_column
from actors.network import LARGEST_FRAME_BYTES
from cluster_sim.engine.group import Reply, Window

MAGIC: Final = "cluster-sim"
VERSION: Final = 3
"""Raised with every change of a frame's layout; both ends must have the same."""
_FOREIGN: Final = "not a frame of cluster-sim, or damaged"


class ForeignFrameError(FrameError):
    """Bytes that are not a whole frame of this run; its text is fixed and repeats nothing that came."""


class GapError(FrameError):
    """A frame of this run came before one that was sent earlier, which is lost or damaged."""


class FrameKind(IntEnum):
    """The kind of a frame's body."""

    HELLO = 1
    WINDOW = 2
    REPLY = 3
    STOP = 4
    ERROR = 5
    BATCH = 6
    BATCH_DONE = 7
    BROKEN = 8


_KINDS: Final = {int(kind): kind for kind in FrameKind}


class Link:
    """One end's view of its link to one peer: the identity and the two sequences that every frame must fit.

    ``run`` names the run and is known to its actors only, so it appears in no message; ``epoch`` counts its restarts,
    ``peer`` is the number of the link, the same at both ends.
    """

    def __init__(self, run: str, epoch: int, peer: int) -> None:
        self._run = run
        self._epoch = epoch
        self._peer = peer
        self._sent = 0
        self._received = 0
        self._packer = msgpack.Packer()

    def seal(self, kind: FrameKind, body: Any) -> bytes:
        """Return the next frame to send; raise FrameError if it is larger than a receiver takes."""
        pack = self._packer.pack
        header = pack((MAGIC, VERSION, self._run, self._epoch, kind, self._peer, self._sent))
        packed = pack(body)
        self._sent += 1
        frame: bytes = pack((header, _checksum(header, packed), packed))
        if len(frame) > LARGEST_FRAME_BYTES:
            raise FrameError(
                f"a {kind.name} frame has {len(frame)} bytes, more than the limit of {LARGEST_FRAME_BYTES}"
            )
        return frame

    def open(self, frame: bytes) -> tuple[FrameKind, Any]:
        """Return (kind, body) of the next frame received; raise ForeignFrameError if it is not of this run at all."""
        header, packed = _checked_parts(frame)
        fields = _unpacked(header, ForeignFrameError(_FOREIGN))
        if not isinstance(fields, list) or len(fields) < 3 or fields[0] != MAGIC:
            raise ForeignFrameError(_FOREIGN)
        if fields[2] != self._run:
            raise ForeignFrameError("a frame of another run")
        if fields[1] != VERSION or type(fields[1]) is not int:
            raise FrameError(f"the frame has version {fields[1]!r}, this end has {VERSION}: use the same release")
        if len(fields) != 7:
            raise FrameError(f"the frame's header has {len(fields)} fields, not 7")
        _, _, _, epoch, kind, peer, sequence = fields
        for name, value, expected in (("epoch", epoch, self._epoch), ("peer", peer, self._peer)):
            if value != expected or type(value) is not int:
                raise FrameError(f"the frame has {name} {value!r}, expected {expected!r}")
        if type(sequence) is not int or sequence < 0:
            raise FrameError(f"the frame has sequence {sequence!r}, expected {self._received}")
        if sequence < self._received:
            raise ForeignFrameError("a frame that had come before")
        if sequence > self._received:
            raise GapError(f"frame {sequence} of the link came where frame {self._received} was due")
        known = _KINDS.get(kind) if type(kind) is int else None
        if known is None:
            raise FrameError(f"the frame has the unknown kind {kind!r}")
        body = _unpacked(packed, FrameError("the frame's body is not msgpack"))
        self._received += 1
        return known, body


def _checksum(header: bytes, packed: bytes) -> bytes:
    # Bytes, not an integer: msgpack has several codes for one integer, so a damaged code could still mean the same.
    return zlib.crc32(packed, zlib.crc32(header)).to_bytes(4, "little")


def _checked_parts(frame: bytes) -> tuple[bytes, bytes]:
    parts = _unpacked(frame, ForeignFrameError(_FOREIGN))
    if not isinstance(parts, list) or len(parts) != 3:
        raise ForeignFrameError(_FOREIGN)
    header, checksum, packed = parts
    if not isinstance(header, bytes) or not isinstance(packed, bytes):
        raise ForeignFrameError(_FOREIGN)
    if _checksum(header, packed) != checksum:
        raise ForeignFrameError(_FOREIGN)
    return header, packed


def _unpacked(data: bytes, refusal: FrameError) -> Any:
    try:
        return msgpack.unpackb(data, strict_map_key=False)
    except Exception:  # noqa: BLE001 - of several types, depending on the bytes, and with some of them in the text
        raise refusal from None


# ------------------------------------------------------------------------------------------------- windows and replies


def pack_window(codec: Codec, window: Window) -> list[Any]:
    """Return the body of a window's frame."""
    receivers = pack_column(INT, [source for source, _ in window.messages])
    messages = codec.pack([message for _, message in window.messages])
    head = [window.number, window.clock, window.ceiling, window.collect_counters, window.advances_all]
    return [*head, receivers, messages]


def unpack_window(codec: Codec, body: object) -> Window:
    """Return the window of a frame's body; raise FrameError if it is not one."""
    number, clock, ceiling, collect_counters, advances_all, receivers, packed = _fields(
        body, "window", (int, int, int, bool, bool, bytes, list)
    )
    messages = codec.unpack(packed)
    sources = unpack_column("receiver", INT, len(messages), receivers)
    received = list(zip(sources, messages, strict=True))
    return Window(number, clock, ceiling, collect_counters, received, advances_all)


def pack_reply(codec: Codec, reply: Reply) -> list[Any]:
    """Return the body of a reply's frame."""
    output_times = pack_block(zip(*reply.output_times, strict=True))
    messages = codec.pack(reply.messages)
    return [
        reply.number,
        reply.next_activation,
        len(reply.output_times),
        output_times,
        messages,
        codec.pack_counters(reply.counters),
    ]


def unpack_reply(codec: Codec, body: object) -> Reply:
    """Return the reply of a frame's body; raise FrameError if it is not one."""
    number, next_activation, count, block, packed, counters = _fields(
        body, "reply", (int, int, int, bytes, list, (list, type(None)))
    )
    output_times: list[tuple[int, int, int]] = []
    if count or block:
        output_times = list(zip(*unpack_block("output times", 3, count, block), strict=True))
    return Reply(number, codec.unpack(packed), output_times, next_activation, codec.unpack_counters(counters))


def _fields(body: object, kind: str, types: tuple[Any, ...]) -> list[Any]:
    if not isinstance(body, list) or len(body) != len(types):
        raise FrameError(f"the body of a {kind} must have {len(types)} fields")
    for position, (value, expected) in enumerate(zip(body, types, strict=True)):
        # Exact types: a bool is an int to isinstance, and True is no window number.
        if type(value) is not expected and not (isinstance(expected, tuple) and type(value) in expected):
            raise FrameError(f"field {position} of the {kind} is {type(value).__name__}")
    return body


# --------------------------------------------------------------------------------------------------- pipeline stages


class StageRows(NamedTuple):
    """Batches on their way through a chain of stages, as columns of equal length, in ns."""

    replicas: list[int]
    """Source of the replica that formed the batch."""
    batches: list[int]
    """The replica's batches, counted from 0."""
    arrivals_ns: list[int]
    """When the batch reaches the receiver of this frame; in ``batch_done``, when the last stage ended."""
    ends_ns: list[int]
    """When the last stage ends by the replica's own recurrence."""
    tails: list[list[int]]
    """Two columns per stage to come, in order: its step, and the link from it to the next."""


def pack_rows(rows: StageRows) -> list[Any]:
    """Return the body of a ``batch`` or ``batch_done`` frame."""
    return [len(rows.replicas), pack_block((*rows[:4], *rows.tails))]


def unpack_rows(body: object, stages: int) -> StageRows:
    """Return the rows of a frame's body for a receiver with ``stages`` stages to come, itself included."""
    count, block = _fields(body, "batch", (int, bytes))
    read = unpack_block("batch", 4 + 2 * stages, count, block)
    return StageRows(read[0], read[1], read[2], read[3], read[4:])
