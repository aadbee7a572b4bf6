"""Seeded mutations of frames: of their bytes, and of the values in them."""

import random
from collections.abc import Iterator
from typing import Any

import msgpack

from actors.codec import Codec
from actors.frames import FrameKind, Link, StageRows, pack_reply, pack_rows, pack_window
from actors.serving_codec import serving_codec
from cluster_sim.engine.group import Reply, Window
from cluster_sim.engine.process import Message
from cluster_sim.metrics.live_rows import LiveRows
from cluster_sim.recording.live_state import LiveState
from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.recording.statuses import STATUSES
from cluster_sim.serving.messages import Cancellation, Dispatch, EndOfArrivals, Response, Sample
from cluster_sim.workload.request import Attributes, Request

STAGES = 2
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 255, 256, 1 << 31, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, -(1 << 63),
    0.5, float("nan"), float("inf"), "", "x", "1", b"", b"\x00", bytes(7), bytes(8), bytes(24), b"\xff" * 64,
    [], [[]], [b""], [1, 2], [[1], [2]], {}, {"x": 1}, {1: [2]}, msgpack.ExtType(5, b"x"), msgpack.Timestamp(1, 2),
)  # fmt: skip
"""Values that stand in for others."""


def bodies(codec: Codec | None = None) -> dict[FrameKind, list[Any]]:
    """Return bodies of every kind, with every type of payload."""
    codec = codec or serving_codec()
    attributes = Attributes(session_id=4, segments=((1, 16), (2, 16)))
    to_replica = [
        Message(7, 0, 1, Dispatch(Request(1, 5, 100, 20), 0)),
        Message(8, 0, 2, Dispatch(Request(2, 6, 200, 10, attributes), 1)),
        Message(9, 0, 1, Cancellation(1, 0)),
        Message(9, 0, 3, EndOfArrivals(3)),
    ]
    to_hub = [
        Message(20, 1, 1, Response(1, 0, STATUSES[0], 8, 10, 20, 0, 0, preemption_gaps_ns=(3, 9))),
        Message(21, 2, 2, Sample(2, 1, 0, 0.25)),
    ]
    log = ReplicaLog(0)
    log.step(5, 2, 3, 7, 4)
    states = {1: LiveState(1, 0, 5, 9, 5, (("de",), ()), log), 2: LiveState(0, 0, 0, 0, 5, ((), ()), log)}
    counters = LiveRows().collect(states)
    windows = [
        Window(1, 10, 90, False, []),
        Window(2, 11, 90, True, [(1 + i % 2, m) for i, m in enumerate(to_replica)]),
    ]
    replies = [Reply(1, [], [], 5), Reply(2, to_hub, [(1, 30, 31), (2, 40, 41)], 50, counters)]
    rows = [StageRows([1, 2], [0, 0], [5, 6], [30, 31], [[3, 4], [0, 1]] * STAGES), StageRows([], [], [], [], [[]] * 4)]
    done = [StageRows([1, 2], [0, 0], [30, 31], [30, 31], [])]
    return {
        FrameKind.HELLO: [[1, 3]],
        FrameKind.WINDOW: [pack_window(codec, window) for window in windows],
        FrameKind.REPLY: [pack_reply(codec, reply) for reply in replies],
        FrameKind.STOP: [12],
        FrameKind.ERROR: ["text"],
        FrameKind.BATCH: [pack_rows(each) for each in rows],
        FrameKind.BATCH_DONE: [pack_rows(each) for each in done],
    }


def good_frames(run: str, peer: int = 0) -> list[bytes]:
    """Return frames of every kind, each the first of its link."""
    return [Link(run, 0, peer).seal(kind, body) for kind, group in bodies().items() for body in group]


def mutated_bytes(frames: list[bytes], seed: int) -> Iterator[bytes]:
    """Yield frames with bytes changed, cut out, put in, doubled, or taken from another frame.

    Never a good one, nor one that says the same in other bytes: msgpack has several forms of one number.
    """
    draw = random.Random(seed)
    good = [msgpack.unpackb(frame) for frame in frames]
    while True:
        data = bytearray(draw.choice(frames))
        for _ in range(draw.choice((1, 1, 1, 2, 5))):
            start = draw.randrange(len(data) + 1)
            end = min(len(data), start + draw.choice((1, 1, 2, 4, 9, 60)))
            match draw.randrange(6):
                case 0:
                    data[start:end] = draw.randbytes(end - start)
                case 1:
                    del data[start:end]
                case 2:
                    data[start:start] = draw.randbytes(draw.choice((1, 2, 8, 40)))
                case 3:
                    data[start:start] = data[start:end]
                case 4:
                    other = draw.choice(frames)
                    cut = draw.randrange(len(other) + 1)
                    data[start:] = other[cut:]
                case _:
                    if start < len(data):
                        data[start] ^= 1 << draw.randrange(8)
        frame = bytes(data)
        if not _is_one_of(good, frame):
            yield frame


def _is_one_of(good: list[Any], frame: bytes) -> bool:
    try:
        return msgpack.unpackb(frame, strict_map_key=False) in good
    except (ValueError, TypeError):  # Not msgpack at all.
        return False


def mutated_value(value: Any, draw: random.Random) -> Any:
    """Return plain data with one value in it replaced, left out, doubled or moved."""
    if isinstance(value, list) and value and draw.random() < 0.85:
        index = draw.randrange(len(value))
        changed = list(value)
        match draw.randrange(8):
            case 0:
                del changed[index]
            case 1:
                changed.insert(index, changed[index])
            case 2:
                other = draw.randrange(len(value))
                changed[index], changed[other] = changed[other], changed[index]
            case _:
                changed[index] = mutated_value(changed[index], draw)
        return changed
    if isinstance(value, bytes) and value and draw.random() < 0.5:
        data = bytearray(value)
        data[draw.randrange(len(data))] = draw.randrange(256)
        return bytes(data)
    return draw.choice(VALUES)
