"""Codec: messages survive packing and unpacking, and malformed data is refused."""

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.codec import CODE, INT, REAL, Codec, FrameError, pack_column, tuple_schema, unpack_column
from actors.serving_codec import CANCELLATION, DISPATCH, serving_codec
from cluster_sim.engine.process import Join, Message
from cluster_sim.metrics.live_rows import LiveRows
from cluster_sim.recording.live_state import LiveState
from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.recording.statuses import STATUSES
from cluster_sim.serving.handover.messages import Granted, KvReady, PrefillLeg, PrefillProgress, Release, Reservation
from cluster_sim.serving.messages import (
    AdapterSample,
    Cancellation,
    Dispatch,
    EndOfArrivals,
    FirstToken,
    Leave,
    PrefixSample,
    Response,
    Sample,
)
from cluster_sim.workload.request import NO_ATTRIBUTES, Attributes, Request

INTS = st.integers(-(1 << 63), (1 << 63) - 1)
NAMES = st.text(max_size=8)
GAPS = st.lists(st.tuples(INTS, INTS), max_size=2).map(
    lambda pairs: tuple(time_ns for pair in pairs for time_ns in pair)
)


def attributes() -> st.SearchStrategy[Attributes]:
    segments = st.lists(st.tuples(INTS, INTS), max_size=3).map(tuple)
    return st.just(NO_ATTRIBUTES) | st.builds(
        Attributes, session_id=INTS, turn=INTS, tenant=NAMES, model=NAMES, priority=INTS, segments=segments, lora=NAMES
    )


def payloads() -> st.SearchStrategy[Any]:
    request = st.builds(Request, INTS, INTS, INTS, INTS, attributes())
    ratio = st.floats(allow_nan=False)
    adapters = st.lists(NAMES, max_size=3).map(tuple)
    return (
        st.builds(Dispatch, request, INTS, INTS, INTS, INTS)
        | st.builds(PrefillLeg, request, INTS, INTS, INTS, INTS)
        | st.builds(Reservation, request, INTS, INTS, INTS, INTS)
        | st.builds(KvReady, INTS, INTS, INTS, INTS)
        | st.builds(Release, INTS, INTS)
        | st.builds(PrefillProgress, INTS, INTS, INTS, INTS, st.booleans(), INTS, INTS, INTS, INTS, GAPS)
        | st.builds(Granted, INTS, INTS, INTS, INTS)
        | st.builds(Cancellation, INTS, INTS)
        | st.builds(EndOfArrivals, INTS)
        | st.builds(Join, INTS)
        | st.builds(Leave, INTS)
        | st.builds(FirstToken, INTS, INTS)
        | st.builds(Response, INTS, INTS, st.sampled_from(STATUSES), *[INTS] * 7, GAPS, INTS)
        | st.builds(Sample, INTS, INTS, INTS, ratio, INTS)
        | st.builds(PrefixSample, INTS, st.lists(st.tuples(INTS, INTS), max_size=3).map(tuple))
        | st.builds(AdapterSample, INTS, adapters, adapters)
    )


def messages() -> st.SearchStrategy[list[Message]]:
    return st.lists(st.builds(Message, INTS, INTS, INTS, payloads()), max_size=12)


def plain(message: Message) -> Any:
    """Return a message in a form that compares: requests have no equality of their own."""
    payload = message.payload
    if isinstance(payload, Dispatch):
        request = payload.request
        inner = (request.request_id, request.arrival_ns, request.prompt_tokens, request.output_tokens)
        payload = ("dispatch", *inner, request.attributes, *payload[1:])
    return (*message[:3], type(payload), payload)


def over_the_wire(data: Any) -> Any:
    return msgpack.unpackb(msgpack.packb(data), strict_map_key=False)


@given(messages())
def test_messages_come_back(sent: list[Message]) -> None:
    """Every payload of a serving study, mixed in any order, comes back equal and of its own type."""
    codec = serving_codec()
    received = codec.unpack(over_the_wire(codec.pack(sent)))
    assert [plain(message) for message in received] == [plain(message) for message in sent]
    for message in received:
        assert type(message) is Message
        if isinstance(message.payload, Dispatch) and message.payload.request.attributes == NO_ATTRIBUTES:
            assert message.payload.request.attributes is NO_ATTRIBUTES


def test_counters_come_back() -> None:
    """A replica's row of live figures comes back with its adapters."""
    log = ReplicaLog(0)
    log.step(5, 2, 3, 7, 4)
    counters = LiveRows().collect({3: LiveState(1, 2, 5, 9, 5, (("de", "fr"), ("it",)), log)})
    codec = serving_codec()
    assert codec.unpack_counters(over_the_wire(codec.pack_counters(counters))) == counters
    assert codec.unpack_counters(codec.pack_counters(None)) is None


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (None, "must be a list of an order and sections"),
        ([b"", [99, 1, b"", b"", b""]], "unknown payload code 99"),
        ([b"", [2, 0, b"", b"", b"", b"", b""]], "counts 0 messages"),
        ([b"", [2, 1]], "too short"),
        ([b"", [2, 1, bytes(40), b""]], "Cancellation has 2 blocks, not 1"),
        ([b"", [2, 1, bytes(39)]], "'Cancellation' has 39 bytes, not 5 x 8"),
        ([b"", [2, 1, 7]], "'Cancellation' is int, not bytes"),
        ([b"\x00\x00", [2, 1, bytes(40)]], "order of the messages"),
        ([b"\x05", [2, 1, bytes(40)]], "order of the messages"),
        ([b"\x00\x00", [2, 1, bytes(40)], [2, 1, bytes(40)]], "order of the messages"),
        ([b"", [2, 1, bytes(40)], [2, 1, bytes(40)]], "without an order"),
        ([b"", [16, 1, bytes(104), b"\x63", [[]]]], "unknown status code 99"),
        ([b"", [16, 1, bytes(104), b"\x00", [[0]]]], "not a list of pairs of times"),
        ([b"", [16, 1, bytes(104), b"\x00", [[0, 1]]]], "not a list of pairs of times"),
        ([b"", [16, 1, bytes(104), b"\x00", [[0, 1, "x"]]]], "no pair of integers"),
        ([b"", [16, 1, bytes(104), b"\x00", [[1, 3, 9]]]], "of row 1, of 1 rows"),
        ([b"", [16, 1, bytes(104), b"\x00", None]], "gaps of preemptions are NoneType"),
        ([b"", [1, 1, bytes(88), [[3, 0]]]], "not a row number and"),
        ([b"", [1, 1, bytes(88), None]], "attributes of requests are NoneType"),
    ],
)
def test_malformed_messages_are_refused(data: Any, complaint: str) -> None:
    """Anything that ``pack`` cannot have written is refused with the reason."""
    with pytest.raises(FrameError, match=complaint):
        serving_codec().unpack(data)


def test_attributes_are_checked() -> None:
    """Attributes of a row that is not there, or of another type, are refused."""
    codec = serving_codec()
    packed = codec.pack([Message(1, 0, 1, Dispatch(Request(1, 1, 1, 1, Attributes(tenant="a")), 0))])
    rows = packed[1][-1]
    rows[0][0] = 5
    with pytest.raises(FrameError, match="attributes of row 5, of 1 rows"):
        codec.unpack(packed)
    rows[0][0], rows[0][3] = 0, 7
    with pytest.raises(FrameError, match="attribute 'tenant' is int, not str"):
        codec.unpack(packed)


def test_unknown_payloads_and_values_are_refused() -> None:
    """A type without a schema, and numbers that do not fit their column, are refused before anything is sent."""
    with pytest.raises(
        FrameError,
        match=r"type int have no schema; known: .*Cancellation, .*Join, .*Sample",
    ):
        serving_codec().pack([Message(1, 0, 1, 5)])
    with pytest.raises(FrameError, match="does not fit"):
        Codec([CANCELLATION]).pack([Message(1 << 63, 0, 1, Cancellation(1, 0))])
    with pytest.raises(ValueError, match="code 2"):
        Codec([CANCELLATION, tuple_schema(2, Sample)])


@pytest.mark.parametrize(("kind", "values"), [(INT, [1, -2]), (REAL, [0.5, -1e300]), (CODE, [0, 255]), (INT, [])])
def test_column_of_each_kind(kind: str, values: list[Any]) -> None:
    """A column of each kind comes back, also an empty one."""
    assert unpack_column("x", kind, len(values), pack_column(kind, values)) == values


def test_columns_are_little_endian() -> None:
    """The bytes on the wire do not depend on the machine."""
    assert pack_column(INT, [1]) == b"\x01" + bytes(7)


def test_no_field_is_left_behind() -> None:
    """Every field of a request has a column: one that is added must be added to the wire too."""
    columns = {name for name, _ in DISPATCH.columns}
    assert set(Request.__slots__) == columns - {"attempt", "resumed_tokens", "stored_tokens", "rank"}
    assert set(Dispatch._fields) == {"request", "attempt", "resumed_tokens", "stored_tokens", "rank"}
