"""Mutated frames: none is taken for a good one, and none raises anything but its own error."""

import random
from collections.abc import Callable
from itertools import islice
from typing import Any

import msgpack
import pytest

from actors.codec import FrameError
from actors.frames import ForeignFrameError, FrameKind, Link, unpack_reply, unpack_rows, unpack_window
from actors.serving_codec import serving_codec
from tests.actors.frame_mutations import STAGES, VALUES, bodies, good_frames, mutated_bytes, mutated_value

CODEC = serving_codec()
READERS: dict[FrameKind, Callable[[Any], Any]] = {
    FrameKind.WINDOW: lambda body: unpack_window(CODEC, body),
    FrameKind.REPLY: lambda body: unpack_reply(CODEC, body),
    FrameKind.BATCH: lambda body: unpack_rows(body, STAGES),
    FrameKind.BATCH_DONE: lambda body: unpack_rows(body, 0),
}
COUNTS = pytest.mark.parametrize("count", [5_000, pytest.param(1_000_000, marks=pytest.mark.acceptance)])


@COUNTS
def test_mutated_bytes_are_foreign(count: int) -> None:
    """A frame of the run with bytes changed is dropped, and the link takes the good one afterwards."""
    frames = good_frames("run")
    link = Link("run", 0, 0)
    for frame in islice(mutated_bytes(frames, seed=1), count):
        with pytest.raises(ForeignFrameError):
            link.open(frame)
    assert link.open(frames[0]) == (FrameKind.HELLO, [1, 3])


@COUNTS
def test_mutated_values_are_refused_or_read(count: int) -> None:
    """A body with other values, in a frame that is whole, is refused with a FrameError if it is read at all."""
    draw = random.Random(2)
    originals = [(kind, body) for kind, group in bodies(CODEC).items() if kind in READERS for body in group]
    refused = 0
    for _ in range(count):
        kind, body = draw.choice(originals)
        for _ in range(draw.choice((1, 1, 2))):
            body = mutated_value(body, draw)
        sealed = Link("run", 0, 0).seal(kind, body)
        try:
            READERS[kind](Link("run", 0, 0).open(sealed)[1])
        except FrameError:
            refused += 1
    assert count * 0.3 < refused < count


@pytest.mark.parametrize("position", range(7))
def test_mutated_headers_are_refused(position: int) -> None:
    """A whole frame with another value in its header is dropped if it is of no or another run, refused otherwise."""
    for value in VALUES:
        packer = msgpack.Packer()
        header: list[Any] = ["cluster-sim", 1, "run", 0, int(FrameKind.STOP), 0, 0]
        if value == header[position] and type(value) is type(header[position]):
            continue
        if position == 4 and value == 1:
            continue  # HELLO.
        header[position] = value
        sealed = Link("run", 0, 0)
        frame = reseal(packer.pack(header), packer.pack(3))
        with pytest.raises(ForeignFrameError if position in (0, 2) else FrameError):
            sealed.open(frame)


@pytest.mark.parametrize(
    "parts", [[], [b""], [b"", 0], [b"", 0, b""], ["", 0, b""], [b"\xc1", 0, b""], None, 7, "text"]
)
def test_other_shapes_are_foreign(parts: object) -> None:
    """Whatever else msgpack can hold is dropped."""
    with pytest.raises(ForeignFrameError):
        Link("run", 0, 0).open(msgpack.packb(parts))


@pytest.mark.parametrize(
    "frame",
    [
        b"\x91" * 100_000,
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x81\x90\x01",
        b"",
    ],
)
def test_bombs_are_foreign(frame: bytes) -> None:
    """Deep nesting, announced lengths without content and keys that cannot be are dropped like any other bytes."""
    with pytest.raises(ForeignFrameError):
        Link("run", 0, 0).open(frame)


def reseal(header: bytes, body: bytes) -> bytes:
    """Return a frame with a checksum that fits."""
    import zlib

    frame: bytes = msgpack.packb([header, zlib.crc32(body, zlib.crc32(header)).to_bytes(4, "little"), body])
    return frame
