"""Frames: windows, replies and batches survive the wire; unexpected frames are refused."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import frames
from actors.codec import FrameError
from actors.frames import ForeignFrameError, FrameKind, GapError, Link, StageRows
from actors.serving_codec import serving_codec
from cluster_sim.engine.group import Reply, Window
from cluster_sim.engine.instant import NEVER
from cluster_sim.engine.process import Message
from cluster_sim.serving.messages import Cancellation, Sample

INSTANTS = st.integers(0, NEVER)
NUMBERS = st.integers(0, 1 << 40)
CANCELS = st.builds(Message, INSTANTS, NUMBERS, NUMBERS, st.builds(Cancellation, NUMBERS, NUMBERS))
SAMPLE = st.builds(Sample, NUMBERS, NUMBERS, NUMBERS, st.just(0.5), grid=st.integers(0, 9))
SAMPLES = st.builds(
    Message,
    INSTANTS,
    NUMBERS,
    NUMBERS,
    st.builds(Sample, NUMBERS, NUMBERS, NUMBERS, st.just(0.5), grid=st.integers(0, 9)),
)
CODEC = serving_codec()


def pair() -> tuple[Link, Link]:
    return Link("run", 0, 3), Link("run", 0, 3)


@given(st.builds(Window, NUMBERS, INSTANTS, INSTANTS, st.booleans(), st.lists(st.tuples(NUMBERS, CANCELS))))
def test_window_comes_back(window: Window) -> None:
    """A window is the same after the wire."""
    sender, receiver = pair()
    kind, body = receiver.open(sender.seal(FrameKind.WINDOW, frames.pack_window(CODEC, window)))
    assert kind is FrameKind.WINDOW
    assert frames.unpack_window(CODEC, body) == window


@given(
    st.builds(
        Reply,
        NUMBERS,
        st.lists(SAMPLES),
        st.lists(st.tuples(NUMBERS, INSTANTS, INSTANTS)),
        INSTANTS,
        st.none() | st.just({}),
    )
)
def test_reply_comes_back(reply: Reply) -> None:
    """A reply with its output times is the same after the wire."""
    sender, receiver = pair()
    _, body = receiver.open(sender.seal(FrameKind.REPLY, frames.pack_reply(CODEC, reply)))
    assert frames.unpack_reply(CODEC, body) == reply


@given(st.integers(0, 3), st.integers(0, 5), st.data())
def test_batches_come_back(stages: int, count: int, data: st.DataObject) -> None:
    """Rows for any number of stages to come are the same after the wire."""
    column = st.lists(NUMBERS, min_size=count, max_size=count)
    rows = StageRows(*(data.draw(column) for _ in range(4)), [data.draw(column) for _ in range(2 * stages)])
    sender, receiver = pair()
    _, body = receiver.open(sender.seal(FrameKind.BATCH, frames.pack_rows(rows)))
    assert frames.unpack_rows(body, stages) == rows
    if count:
        with pytest.raises(FrameError, match="bytes, not"):
            frames.unpack_rows(body, stages + 1)


@given(st.data())
def test_damage_is_refused(data: st.DataObject) -> None:
    """A frame with any byte changed, cut off or appended is refused, and the good one is accepted afterwards."""
    window = Window(1, 5, NEVER, False, [(1, Message(7, 0, 1, Cancellation(1, 0)))])
    sender, receiver = pair()
    good = sender.seal(FrameKind.WINDOW, frames.pack_window(CODEC, window))
    position = data.draw(st.integers(0, len(good) - 1))
    damaged = bytearray(good)
    damaged[position] ^= data.draw(st.integers(1, 255))
    for frame in (bytes(damaged), good[:position], good + b"\x00"):
        with pytest.raises(FrameError):
            receiver.open(frame)
    assert frames.unpack_window(CODEC, receiver.open(good)[1]) == window


@pytest.mark.parametrize(
    ("sender", "complaint"),
    [
        (Link("other", 0, 3), "^a frame of another run$"),
        (Link("run", 1, 3), "epoch 1, expected 0"),
        (Link("run", 0, 4), "peer 4, expected 3"),
    ],
)
def test_frames_of_others_are_refused(sender: Link, complaint: str) -> None:
    """A frame of another epoch or link is refused with both its value and the expected one; runs are secret."""
    with pytest.raises(FrameError, match=complaint):
        pair()[1].open(sender.seal(FrameKind.STOP, None))


def test_order_is_checked() -> None:
    """A frame that was overtaken or lost is refused, one that is repeated is dropped."""
    sender, receiver = pair()
    first, second = (sender.seal(FrameKind.STOP, None) for _ in range(2))
    with pytest.raises(GapError, match="frame 1 of the link came where frame 0 was due"):
        receiver.open(second)
    receiver.open(first)
    with pytest.raises(ForeignFrameError, match="a frame that had come before"):
        receiver.open(first)


def test_other_versions_and_kinds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame of another release says so; an unknown kind and foreign bytes are refused too."""
    sender, receiver = pair()
    with pytest.raises(FrameError, match="not a frame of cluster-sim"):
        receiver.open(msgpack.packb({"hello": 1}))
    with pytest.raises(FrameError, match="not a frame of cluster-sim"):
        receiver.open(b"\xc1")
    with pytest.raises(FrameError, match="unknown kind 77"):
        receiver.open(pair()[0].seal(77, None))  # type: ignore[arg-type]
    monkeypatch.setattr(frames, "VERSION", frames.VERSION + 1)
    newer = sender.seal(FrameKind.STOP, None)
    monkeypatch.undo()
    with pytest.raises(FrameError, match="use the same release"):
        receiver.open(newer)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (None, "body of a window must have 7 fields"),
        ([1, 2, 3, True, False, b""], "must have 7 fields"),
        ([True, 2, 3, True, False, b"", [b""]], "field 0 of the window is bool"),
        ([1, 2, 3, 4, False, b"", [b""]], "field 3 of the window is int"),
        ([1, 2, 3, True, False, b"12345678", [b""]], "'receiver' has 8 bytes, not 0 x 8"),
    ],
)
def test_malformed_windows_are_refused(body: object, complaint: str) -> None:
    """Fields that are missing, of another type, or of another length are refused."""
    with pytest.raises(FrameError, match=complaint):
        frames.unpack_window(CODEC, body)


def test_malformed_replies_are_refused() -> None:
    """Output times that are not a block of three equal columns are refused, and so are counters without sources."""
    for output_times, counters, complaint in (
        (bytes(8), None, "'output times' has 8 bytes, not 3 x 8"),
        ([bytes(24)], None, "field 3 of the reply is list"),
        (bytes(24), [[1], []], "counters of 0 processes for 1 sources"),
        (bytes(24), [[1], [[2]]], "counters cannot be read"),
    ):
        with pytest.raises(FrameError, match=complaint):
            frames.unpack_reply(CODEC, [1, 5, 1, output_times, [b""], counters])
