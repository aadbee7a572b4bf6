"""Codec of messages: payloads as columns, by a schema for each payload type.

A frame never carries objects.  The messages of one payload type become one section of columns of equal length, as raw
little-endian bytes; all columns of integers lie one after the other in one block, because most windows are small and
each block costs a call.  A new payload type is one ``PayloadSchema``; nothing else knows its fields.
"""

import sys
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

from cluster_sim.engine.process import Message

INT: Final = "q"
"""Signed 64-bit integers."""
REAL: Final = "d"
"""IEEE 754 doubles."""
CODE: Final = "B"
"""Small enumerations, one byte each."""
PLAIN: Final = "o"
"""One plain msgpack object for the whole column, where most rows have nothing to say (sparse fields)."""

_WIDTHS: Final = {INT: 8, REAL: 8, CODE: 1}
_SWAPS: Final = sys.byteorder == "big"
_STAMPS: Final = 3
"""Columns of every message: instant, source, sequence."""


_new_message: Final = partial(tuple.__new__, Message)
"""Half the price of calling the type."""


class FrameError(RuntimeError):
    """A frame that must not be used: of another run, version or order than expected, or damaged on the way."""


def pack_column(kind: str, values: Iterable[Any]) -> bytes:
    """Return numbers as the little-endian bytes of one column; raise FrameError if a value does not fit."""
    try:
        packed = array(kind, values)
    except (TypeError, OverflowError, ValueError) as error:
        raise FrameError(f"a value does not fit a column of type {kind!r}: {error}") from error
    if _SWAPS:
        packed.byteswap()
    return packed.tobytes()


def unpack_column(name: str, kind: str, count: int, data: object) -> list[Any]:
    """Return the ``count`` numbers of one column; raise FrameError if the bytes are not exactly that."""
    if not isinstance(data, bytes):
        raise FrameError(f"column {name!r} is {type(data).__name__}, not bytes")
    if len(data) != count * _WIDTHS[kind]:
        raise FrameError(f"column {name!r} has {len(data)} bytes, not {count} x {_WIDTHS[kind]}")
    packed = array(kind)
    packed.frombytes(data)
    if _SWAPS:
        packed.byteswap()
    return packed.tolist()


def pack_block(columns: Iterable[Iterable[int]]) -> bytes:
    """Return columns of integers one after the other."""
    values: list[int] = []
    for column in columns:
        values.extend(column)
    return pack_column(INT, values)


def unpack_block(name: str, columns: int, count: int, data: object) -> list[list[int]]:
    """Return the columns of ``pack_block``, each of ``count`` integers; raise FrameError where they are not that."""
    values = unpack_column(name, INT, columns * count, data)
    if count == 1:
        return [[value] for value in values]
    return (
        [values[start : start + count] for start in range(0, columns * count, count)]
        if count
        else [[] for _ in range(columns)]
    )


@dataclass(frozen=True, slots=True)
class PayloadSchema:
    """How payloads of one type become columns and come back."""

    code: int
    """Number of the type on the wire."""
    payload_type: type
    columns: tuple[tuple[str, str], ...]
    """(name, kind) of each column."""
    split: Callable[[Sequence[Any]], Sequence[Any]]
    """Payloads to one sequence of values (or one plain object) per column."""
    join: Callable[[list[Any], int], list[Any]]
    """Columns and the number of rows back to payloads; raises FrameError where values make no sense."""

    @property
    def ints(self) -> list[int]:
        """Positions of the columns of integers."""
        return [position for position, (_, kind) in enumerate(self.columns) if kind == INT]

    @property
    def others(self) -> list[tuple[int, str, str]]:
        """(position, name, kind) of all other columns."""
        return [(position, name, kind) for position, (name, kind) in enumerate(self.columns) if kind != INT]


def tuple_schema(code: int, payload_type: type, kinds: str = "") -> PayloadSchema:
    """Return the schema of a NamedTuple of numbers; ``kinds`` has one letter per field, all ``INT`` by default."""
    names: tuple[str, ...] = payload_type._fields  # type: ignore[attr-defined]
    letters = kinds or INT * len(names)
    make = partial(tuple.__new__, payload_type)

    def split(payloads: Sequence[Any]) -> Sequence[Any]:
        return list(zip(*payloads, strict=True))

    def join(columns: list[Any], count: int) -> list[Any]:
        return list(map(make, zip(*columns, strict=True))) if names else [make(())] * count

    return PayloadSchema(code, payload_type, tuple(zip(names, letters, strict=True)), split, join)


class _Layout(NamedTuple):
    schema: PayloadSchema
    ints: list[int]
    others: list[tuple[int, str, str]]


class Codec:
    """The payload types of one run's messages.

    ``read_counters`` turns the plain lists that msgpack returns for one process's counters back into their type.
    """

    def __init__(self, schemas: Iterable[PayloadSchema], read_counters: Callable[[Any], Any] | None = None) -> None:
        self._by_type: dict[type, _Layout] = {}
        self._by_code: dict[int, _Layout] = {}
        for schema in schemas:
            if schema.code in self._by_code:
                raise ValueError(f"two payload types have the code {schema.code}")
            layout = _Layout(schema, schema.ints, schema.others)
            self._by_type[schema.payload_type] = layout
            self._by_code[schema.code] = layout
        self._read_counters = read_counters

    # ------------------------------------------------------------------------------------------------------- messages

    def pack(self, messages: Sequence[Message]) -> list[Any]:
        """Return messages as plain data: ``[order, section, ...]``, one section per payload type.

        ``order`` is empty where all messages have one type, else one byte per message that names its section.
        """
        if not messages:
            return [b""]
        types = [type(message.payload) for message in messages]
        if types.count(types[0]) == len(types):
            return [b"", self._section(types[0], messages)]
        distinct = list(dict.fromkeys(types))
        order = pack_column(CODE, map({kind: index for index, kind in enumerate(distinct)}.__getitem__, types))
        sections = [
            self._section(kind, [message for message in messages if type(message.payload) is kind]) for kind in distinct
        ]
        return [order, *sections]

    def unpack(self, data: object) -> list[Message]:
        """Return the messages of ``pack``; raise FrameError at anything that ``pack`` cannot have written."""
        if not isinstance(data, list) or not data or not isinstance(data[0], bytes):
            raise FrameError("messages must be a list of an order and sections")
        order, sections = data[0], [self._messages(section) for section in data[1:]]
        if not order:
            if len(sections) > 1:
                raise FrameError(f"{len(sections)} sections of messages without an order")
            return sections[0] if sections else []
        if len(order) != sum(map(len, sections)) or max(order) >= len(sections):
            raise FrameError("the order of the messages does not fit their sections")
        iterators = [iter(section) for section in sections]
        try:
            return [next(iterators[index]) for index in order]
        except StopIteration as error:
            raise FrameError("the order of the messages does not fit their sections") from error

    def _section(self, payload_type: type, messages: Sequence[Message]) -> list[Any]:
        layout = self._by_type.get(payload_type)
        if layout is None:
            known = ", ".join(sorted(kind.__name__ for kind in self._by_type))
            raise FrameError(f"payloads of type {payload_type.__name__} have no schema; known: {known}")
        schema, ints, others = layout
        instants, sources, sequences, payloads = zip(*messages, strict=True)
        columns = schema.split(payloads)
        packed: list[Any] = [
            schema.code,
            len(messages),
            pack_block((instants, sources, sequences, *[columns[position] for position in ints])),
        ]
        for position, _, kind in others:
            values = columns[position]
            packed.append(values if kind == PLAIN else pack_column(kind, values))
        return packed

    def _messages(self, section: object) -> list[Message]:
        if not isinstance(section, list) or len(section) < 3:
            raise FrameError("a section of messages is too short")
        code, count = section[0], section[1]
        layout = self._by_code.get(code) if isinstance(code, int) else None
        if layout is None:
            raise FrameError(f"a section has the unknown payload code {code!r}; known: {sorted(self._by_code)}")
        schema, ints, others = layout
        name = schema.payload_type.__name__
        if type(count) is not int or count < 1:
            raise FrameError(f"a section of {name} counts {count!r} messages")
        if len(section) != 3 + len(others):
            raise FrameError(f"a section of {name} has {len(section) - 2} blocks, not {1 + len(others)}")
        block = unpack_block(name, _STAMPS + len(ints), count, section[2])
        columns: list[Any] = block[_STAMPS:]
        for (position, column, kind), data in zip(others, section[3:], strict=True):
            columns.insert(position, data if kind == PLAIN else unpack_column(column, kind, count, data))
        payloads = schema.join(columns, count)
        return list(map(_new_message, zip(*block[:_STAMPS], payloads, strict=True)))

    # ------------------------------------------------------------------------------------------------------- counters

    def pack_counters(self, counters: dict[int, Any] | None) -> list[Any] | None:
        """Return counters by source as plain data; None stays None."""
        if counters is None:
            return None
        return [list(counters), list(counters.values())]

    def unpack_counters(self, data: object) -> dict[int, Any] | None:
        """Return the counters of ``pack_counters`` in their own types."""
        if data is None:
            return None
        if not isinstance(data, list) or len(data) != 2 or not all(isinstance(part, list) for part in data):
            raise FrameError("counters must be a list of sources and a list of values")
        sources, values = data
        if len(sources) != len(values) or not all(type(source) is int for source in sources):
            raise FrameError(f"counters of {len(values)} processes for {len(sources)} sources")
        read = self._read_counters
        try:
            return dict(zip(sources, values if read is None else map(read, values), strict=True))
        except (TypeError, ValueError) as error:
            raise FrameError(f"counters cannot be read: {error}") from error
