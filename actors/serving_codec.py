"""Payloads of a serving study on the wire: dispatches, cancellations, ends of arrivals, responses, samples."""

from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from itertools import repeat
from operator import attrgetter
from typing import Any, Final

from actors.codec import CODE, INT, PLAIN, REAL, Codec, FrameError, PayloadSchema, tuple_schema
from cluster_sim.engine.observation import Grid, Observation
from cluster_sim.engine.process import Join
from cluster_sim.metrics.live_figures import WIDTH
from cluster_sim.metrics.live_rows import LiveRow
from cluster_sim.recording.statuses import STATUSES
from cluster_sim.serving.handover.messages import Granted, KvReady, PrefillLeg, PrefillProgress, Release, Reservation
from cluster_sim.serving.messages import (
    AdapterSample,
    Cancellation,
    Departure,
    Dispatch,
    EndOfArrivals,
    FirstToken,
    Leave,
    Observe,
    PrefixSample,
    Response,
    Sample,
    Withdrawal,
)
from cluster_sim.workload.request import NO_ATTRIBUTES, Attributes, Request

_ATTRIBUTE_NAMES: Final = tuple(field.name for field in fields(Attributes))
_ATTRIBUTE_TYPES: Final = tuple(type(getattr(NO_ATTRIBUTES, name)) for name in _ATTRIBUTE_NAMES)
_SEGMENTS: Final = _ATTRIBUTE_NAMES.index("segments")
_GAPS: Final = "preemption_gaps_ns"
_RESPONSE_GAPS: Final = Response._fields.index(_GAPS)
_PROGRESS_GAPS: Final = PrefillProgress._fields.index(_GAPS)
_STATUS_CODES: Final = {status: code for code, status in enumerate(STATUSES)}


def _attribute_rows(attributes: Sequence[Attributes]) -> list[list[Any]]:
    """Return ``[row, field, ...]`` for every row whose attributes are not the shared default."""
    read = attrgetter(*_ATTRIBUTE_NAMES)
    return [[row, *read(values)] for row, values in enumerate(attributes) if values is not NO_ATTRIBUTES]


def _read_attributes(rows: object, count: int) -> list[Attributes]:
    attributes = [NO_ATTRIBUTES] * count
    if not isinstance(rows, list):
        raise FrameError(f"the attributes of requests are {type(rows).__name__}, not a list")
    for entry in rows:
        if not isinstance(entry, list) or len(entry) != 1 + len(_ATTRIBUTE_NAMES):
            raise FrameError(f"a request's attributes are not a row number and {len(_ATTRIBUTE_NAMES)} fields")
        row, *values = entry
        if type(row) is not int or not 0 <= row < count:
            raise FrameError(f"attributes of row {row!r}, of {count} rows")
        try:
            values[_SEGMENTS] = tuple((int(segment), int(tokens)) for segment, tokens in values[_SEGMENTS])
        except (TypeError, ValueError) as error:
            raise FrameError(f"segments are not pairs of integers: {error}") from error
        for name, kind, value in zip(_ATTRIBUTE_NAMES, _ATTRIBUTE_TYPES, values, strict=True):
            if type(value) is not kind:
                raise FrameError(f"attribute {name!r} is {type(value).__name__}, not {kind.__name__}")
        attributes[row] = Attributes(*values)
    return attributes


def _split_dispatches(dispatches: Sequence[Dispatch]) -> Sequence[Any]:
    requests, attempts, resumed, stored, ranks = zip(*dispatches, strict=True)
    return [
        [request.request_id for request in requests],
        [request.arrival_ns for request in requests],
        [request.prompt_tokens for request in requests],
        [request.output_tokens for request in requests],
        attempts,
        resumed,
        stored,
        ranks,
        _attribute_rows([request.attributes for request in requests]),
    ]


def _dispatch_schema(code: int, payload_type: type[Dispatch]) -> PayloadSchema:
    """Return the schema of a dispatch, or of a leg of a hand-over, which has the same columns."""

    def join(columns: list[Any], count: int) -> list[Any]:
        ids, arrivals, prompts, outputs, attempts, resumed, stored, ranks, rows = columns
        attributes = _read_attributes(rows, count) if rows != [] else repeat(NO_ATTRIBUTES, count)
        requests = map(Request, ids, arrivals, prompts, outputs, attributes)
        dispatches = zip(requests, attempts, resumed, stored, ranks, strict=True)
        return list(map(partial(tuple.__new__, payload_type), dispatches))

    return PayloadSchema(
        code=code,
        payload_type=payload_type,
        columns=(
            ("request_id", INT),
            ("arrival_ns", INT),
            ("prompt_tokens", INT),
            ("output_tokens", INT),
            ("attempt", INT),
            ("resumed_tokens", INT),
            ("stored_tokens", INT),
            ("rank", INT),
            ("attributes", PLAIN),
        ),
        split=_split_dispatches,
        join=join,
    )


def _gap_rows(gaps_ns: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """Return ``[row, start, end, start, end ...]`` for every row with preemptions, which few have."""
    return [[row, *times_ns] for row, times_ns in enumerate(gaps_ns) if times_ns]


def _read_gaps(rows: object, count: int) -> list[tuple[int, ...]]:
    """Return the gaps of preemptions, pairs of times one after the other, of every row."""
    gaps_ns: list[tuple[int, ...]] = [()] * count
    if not isinstance(rows, list):
        raise FrameError(f"the gaps of preemptions are {type(rows).__name__}, not a list of pairs of times")
    for entry in rows:
        if not isinstance(entry, list) or len(entry) < 3 or not len(entry) % 2:
            raise FrameError("the gaps of preemptions are not a list of pairs of times behind the number of a row")
        if not all(type(value) is int for value in entry):
            raise FrameError("a gap of a preemption is no pair of integers")
        row, *times_ns = entry
        if not 0 <= row < count:
            raise FrameError(f"gaps of preemptions of row {row}, of {count} rows")
        gaps_ns[row] = tuple(times_ns)
    return gaps_ns


def _kinds(names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the columns of what tells of an attempt at a replica."""
    kinds = {"status": CODE, _GAPS: PLAIN}
    return tuple((name, kinds.get(name, INT)) for name in names)


def _split_progress(reports: Sequence[PrefillProgress]) -> Sequence[Any]:
    columns: list[Any] = list(zip(*reports, strict=True))
    columns[_PROGRESS_GAPS] = _gap_rows(columns[_PROGRESS_GAPS])
    return columns


def _join_progress(columns: list[Any], count: int) -> list[Any]:
    columns[_PROGRESS_GAPS] = _read_gaps(columns[_PROGRESS_GAPS], count)
    return list(map(partial(tuple.__new__, PrefillProgress), zip(*columns, strict=True)))


DISPATCH: Final = _dispatch_schema(1, Dispatch)
PREFILL_LEG: Final = _dispatch_schema(8, PrefillLeg)
RESERVATION: Final = _dispatch_schema(9, Reservation)
KV_READY: Final = tuple_schema(10, KvReady)
RELEASE: Final = tuple_schema(11, Release)
PREFILL_PROGRESS: Final = PayloadSchema(
    code=24,
    payload_type=PrefillProgress,
    columns=_kinds(PrefillProgress._fields),
    split=_split_progress,
    join=_join_progress,
)
GRANTED: Final = tuple_schema(25, Granted)
HANDOVER: Final = (PREFILL_LEG, RESERVATION, KV_READY, RELEASE, PREFILL_PROGRESS, GRANTED)

CANCELLATION: Final = tuple_schema(2, Cancellation)
WITHDRAWAL: Final = tuple_schema(12, Withdrawal)
END_OF_ARRIVALS: Final = tuple_schema(3, EndOfArrivals)
JOIN: Final = tuple_schema(4, Join)
LEAVE: Final = tuple_schema(5, Leave)
_OBSERVED_FIELDS: Final = tuple(field.name for field in fields(Observation))


def _split_observed(payloads: Sequence[Observe]) -> Sequence[Any]:
    return [[_plain_observation(payload.observation) for payload in payloads]]


def _plain_observation(observation: Observation) -> list[Any]:
    grids = [
        [grid.name, grid.period_ns, grid.latency_ns, sorted(grid.fields), grid.is_read_by_schedules]
        for grid in observation.grids
    ]
    plain = {"sampled_fields": sorted(observation.sampled_fields), "grids": grids}
    return [plain.get(name, getattr(observation, name)) for name in _OBSERVED_FIELDS]


def _join_observed(columns: list[Any], _count: int) -> list[Any]:
    try:
        return [Observe(_observation(dict(zip(_OBSERVED_FIELDS, row, strict=True)))) for row in columns[0]]
    except (TypeError, ValueError) as error:
        raise FrameError(f"an observation cannot be read: {error}") from error


def _observation(values: dict[str, Any]) -> Observation:
    grids = tuple(
        Grid(str(name), int(period_ns), int(latency_ns), frozenset(read), bool(is_read))
        for name, period_ns, latency_ns, read, is_read in values.pop("grids")
    )
    return Observation(**{**values, "sampled_fields": frozenset(values["sampled_fields"]), "grids": grids})


OBSERVE: Final = PayloadSchema(
    code=6, payload_type=Observe, columns=(("observation", PLAIN),), split=_split_observed, join=_join_observed
)


def _split_responses(responses: Sequence[Response]) -> Sequence[Any]:
    columns: list[Any] = list(zip(*responses, strict=True))
    columns[2] = [_STATUS_CODES[status] for status in columns[2]]
    columns[_RESPONSE_GAPS] = _gap_rows(columns[_RESPONSE_GAPS])
    return columns


def _join_responses(columns: list[Any], count: int) -> list[Any]:
    if max(columns[2]) >= len(STATUSES):
        raise FrameError(f"a response has the unknown status code {max(columns[2])}")
    columns[2] = map(STATUSES.__getitem__, columns[2])
    columns[_RESPONSE_GAPS] = _read_gaps(columns[_RESPONSE_GAPS], count)
    return list(map(partial(tuple.__new__, Response), zip(*columns, strict=True)))


RESPONSE: Final = PayloadSchema(
    code=16,
    payload_type=Response,
    columns=_kinds(Response._fields),
    split=_split_responses,
    join=_join_responses,
)

SAMPLE: Final = tuple_schema(17, Sample, "".join(REAL if name == "kv_used_ratio" else INT for name in Sample._fields))


def _join_prefixes(columns: list[Any], _count: int) -> list[Any]:
    replicas, changes = columns
    try:
        return [
            PrefixSample(replica, tuple((int(name), int(end)) for name, end in pairs))
            for replica, pairs in zip(replicas, changes, strict=True)
        ]
    except (TypeError, ValueError) as error:
        raise FrameError(f"changes of prefixes are not pairs of integers: {error}") from error


def _join_adapters(columns: list[Any], _count: int) -> list[Any]:
    replicas, states = columns
    try:
        rows = [
            AdapterSample(replica, tuple(active), tuple(waiting))
            for replica, (active, waiting) in zip(replicas, states, strict=True)
        ]
    except (TypeError, ValueError) as error:
        raise FrameError(f"adapters are not pairs of lists: {error}") from error
    if not all(isinstance(adapter, str) for row in rows for adapter in (*row.active, *row.waiting)):
        raise FrameError("an adapter's name is no text")
    return rows


PREFIX_SAMPLE: Final = PayloadSchema(
    code=20,
    payload_type=PrefixSample,
    columns=(("replica", INT), ("changes", PLAIN)),
    split=lambda samples: [[sample.replica for sample in samples], [sample.changes for sample in samples]],
    join=_join_prefixes,
)
ADAPTER_SAMPLE: Final = PayloadSchema(
    code=21,
    payload_type=AdapterSample,
    columns=(("replica", INT), ("adapters", PLAIN)),
    split=lambda samples: [[sample.replica for sample in samples], [sample[1:] for sample in samples]],
    join=_join_adapters,
)

DEPARTURE: Final = tuple_schema(18, Departure)
FIRST_TOKEN: Final = tuple_schema(19, FirstToken)


def _read_counters(values: Any) -> LiveRow:
    """Return a replica's row of live figures, those of its ranks behind it, and its adapters."""
    row, (active, awaited) = values
    if not row or len(row) % (8 * WIDTH):
        raise ValueError(f"rows of live figures have {len(row)} bytes, not a multiple of {8 * WIDTH}")
    return row, (tuple(active), tuple(awaited))


PAYLOADS: Final = (
    DISPATCH,
    CANCELLATION,
    WITHDRAWAL,
    END_OF_ARRIVALS,
    JOIN,
    LEAVE,
    OBSERVE,
    RESPONSE,
    SAMPLE,
    DEPARTURE,
    FIRST_TOKEN,
    PREFIX_SAMPLE,
    ADAPTER_SAMPLE,
    *HANDOVER,
)
"""Everything that travels between the router and its replicas."""


def serving_codec() -> Codec:
    """Return the codec of every serving study."""
    return Codec(PAYLOADS, _read_counters)
