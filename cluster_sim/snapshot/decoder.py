"""Decoder of object graphs that ``GraphEncoder`` has written.

Objects that can change are made empty first and filled afterwards, so cycles close; what cannot change is made when it
is first asked for.  Keys of mappings and sets are filled before they are hashed.
"""

from array import array
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgpack
import numpy as np

from cluster_sim.kernel.names import is_compiled
from cluster_sim.snapshot.encoder import BIG_INTEGER
from cluster_sim.snapshot.externals import Externals
from cluster_sim.snapshot.names import SnapshotError, value_of

_MISSING: Final = object()
_BASES: Final = {"object of dict": dict, "object of list": list, "object of set": set, "object of deque": deque}
_NEW: Final[Mapping[str, Callable[[], Any]]] = {
    "list": list,
    "dict": dict,
    "set": set,
    "OrderedDict": OrderedDict,
}


class GraphDecoder:
    """Reads one graph."""

    def __init__(self, data: bytes, externals: Externals) -> None:
        """Raise SnapshotError if ``data`` is no graph."""
        self._externals = externals
        self._is_compiled = externals.is_compiled
        try:
            shapes, rows = msgpack.unpackb(data, ext_hook=_unpack_other, strict_map_key=False, raw=False)
        except (ValueError, TypeError) as error:
            raise SnapshotError(f"is no snapshot of a state: {error}") from error
        self._shapes: list[list[Any]] = shapes
        self._rows: list[list[Any]] = rows
        self._values: list[Any] = [_MISSING] * len(rows)
        self._filled = bytearray(len(rows))
        self._names: dict[str, Any] = {}

    def decode(self, into: Mapping[str, Any] | None = None) -> Any:
        """Return the root; fields of a root that is a dictionary fill the objects of ``into`` under their keys.

        Raises SnapshotError if a name is unknown here.
        """
        if into:
            self._is_compiled = any(map(is_compiled, into.values()))
            self._place(into)
        # What a row refers to mostly stands behind it: from the end, little is left to be made on the way.
        for number in reversed(range(len(self._rows))):
            self.get(number)
        for number in range(len(self._rows)):
            self.fill(number)
        restored = [value for value in self._values if hasattr(type(value), "after_restore")]
        for value in restored:
            value.after_restore()
        return self.get(0)

    def _place(self, into: Mapping[str, Any]) -> None:
        shape, keys, values = self._rows[0]
        assert self._shapes[shape][0] == "dict"
        for key, number in zip(keys[1:], values[1:], strict=True):
            if key in into:
                self._values[number] = into[key]

    def get(self, number: int) -> Any:
        """Return the object with a number; one that can change may still be empty."""
        value = self._values[number]
        if value is _MISSING:
            value = self._values[number] = self._make(number)
        return value

    def ready(self, number: int) -> Any:
        """Return the object with a number, filled as far as its hash may ask."""
        value = self.get(number)
        shape, *row = self._rows[number]
        tag, *parts = self._shapes[shape]
        if tag == "object" and not self._filled[number]:
            self.fill(number)
            for place in parts[2]:
                self.ready(row[place])
            for place, kind in parts[3]:
                for items in row[place] if kind == "dict" else [row[place]]:
                    self.linked(items, is_hashed=True)
        elif tag in ("tuple", "named tuple"):
            self.linked(row, is_hashed=True)
        return value

    def linked(self, row: Sequence[Any], *, is_hashed: bool = False) -> list[Any]:
        """Return the values that ``GraphEncoder.linked`` has written."""
        places, *values = row
        if places is None:
            return values
        if places is False:
            return list(map(tuple, values))
        get = self.ready if is_hashed else self.get
        if places is True:
            return [get(number) for number in values]
        for place in places:
            values[place] = get(values[place])
        return values

    def named(self, name: str) -> Any:
        """Return what a name stands for."""
        if name in self._externals.by_name:
            return self._externals.by_name[name]
        if name not in self._names:
            self._names[name] = value_of(name, self._externals.others, is_compiled=self._is_compiled)
        return self._names[name]

    def _make(self, number: int) -> Any:
        shape, *row = self._rows[number]
        tag, *parts = self._shapes[shape]
        if tag == "object":
            cls = self.named(parts[0])
            return cls.__new__(cls) if self._is_compiled else object.__new__(cls)
        if tag in _BASES:
            cls = self.named(parts[0])
            return cls.__new__(cls)
        if tag in _NEW:
            return _NEW[tag]()
        make = _MAKERS.get(tag)
        if make is None:
            raise SnapshotError(f"holds an unknown kind of object: {tag}")
        return make(self, parts, row)

    def fill(self, number: int) -> None:
        """Fill an object that was made empty, if it is not filled yet."""
        if self._filled[number]:
            return
        self._filled[number] = 1
        shape, *row = self._rows[number]
        tag, *parts = self._shapes[shape]
        value = self._values[number]
        if tag == "object" or tag in _BASES:
            _, names, places, inlined = parts
            for place in places:
                row[place] = self.get(row[place])
            for place, kind in inlined:
                row[place] = self._inlined(kind, row[place])
            for name, item in zip(names, row, strict=False):  # A container's items stand behind the fields.
                object.__setattr__(value, name, item)
            if tag in _BASES:
                self._fill_items(value, tag.rpartition(" ")[2], row[-1])
        elif tag in ("list", "set"):
            self._fill_items(value, tag, [row])
        elif tag in ("dict", "OrderedDict"):
            self._fill_items(value, "dict", row)
        elif tag == "deque":
            value.extend(self.linked(row))
        elif tag == "defaultdict":
            self._fill_items(value, "dict", row[1:])

    def _inlined(self, kind: str, row: Sequence[Any]) -> Any:
        """Return a container that stands in the row of its owner."""
        if kind == "list":
            return self.linked(row)
        if kind == "tuple":
            return tuple(self.linked(row))
        made: Any = {} if kind == "dict" else set()
        self._fill_items(made, kind, row if kind == "dict" else [row])
        return made

    def _fill_items(self, value: Any, kind: str, rows: Sequence[Any]) -> None:
        if kind == "dict":
            keys, items = rows
            put = OrderedDict.__setitem__ if isinstance(value, OrderedDict) else dict.__setitem__
            for key, item in zip(self.linked(keys, is_hashed=True), self.linked(items), strict=True):
                put(value, key, item)
        elif kind == "set":
            set.update(value, self.linked(rows[0], is_hashed=True))
        else:
            value.extend(self.linked(rows[0]))


def _unpack_other(code: int, data: bytes) -> Any:
    if code != BIG_INTEGER:
        raise ValueError(f"unknown extension type {code}")
    return int.from_bytes(data, "little", signed=True)


def _make_object_array(decoder: GraphDecoder, _parts: Sequence[Any], row: Sequence[Any]) -> Any:
    lengths, items = row
    values = decoder.linked(items)
    made = np.empty(len(values), np.object_)
    made[:] = values
    return made.reshape(lengths)


def _make_array(_decoder: GraphDecoder, parts: Sequence[Any], row: Sequence[Any]) -> Any:
    dtype, order, is_writeable = parts
    lengths, data = row
    made = np.frombuffer(data, np.dtype(dtype)).reshape(lengths, order=order).copy(order)
    made.setflags(write=is_writeable)
    return made


def _make_sparse_array(_decoder: GraphDecoder, parts: Sequence[Any], row: Sequence[Any]) -> Any:
    dtype, is_writeable = parts
    lengths, places, values = row
    made = np.zeros(lengths, np.dtype(dtype))
    made.reshape(-1)[np.frombuffer(places, "<i8")] = np.frombuffer(values, np.dtype(dtype))
    made.setflags(write=is_writeable)
    return made


def _make_view(decoder: GraphDecoder, parts: Sequence[Any], row: Sequence[Any]) -> Any:
    dtype, is_writeable = parts
    base, start, lengths, strides = row
    made: Any = np.ndarray(lengths, np.dtype(dtype), decoder.get(base), start, strides)
    made.setflags(write=is_writeable)
    return made


def _make_scalar(_decoder: GraphDecoder, parts: Sequence[Any], row: Sequence[Any]) -> Any:
    return np.frombuffer(row[0], np.dtype(parts[0]))[0]


def _make_machine_array(_decoder: GraphDecoder, parts: Sequence[Any], row: Sequence[Any]) -> Any:
    return array(parts[0], row[0])


def _make_method(decoder: GraphDecoder, parts: Sequence[Any], row: Sequence[Any]) -> Any:
    owner = decoder.get(row[0])
    return getattr(owner, parts[0])


def _make_made(decoder: GraphDecoder, parts: Sequence[Any], row: Sequence[Any]) -> Any:
    return decoder.named(parts[0])(*decoder.linked(row))


def _make_partial(decoder: GraphDecoder, _parts: Sequence[Any], row: Sequence[Any]) -> Any:
    function, arguments, keywords = map(decoder.get, row)
    for number in row:
        decoder.fill(number)
    return partial(function, *arguments, **keywords)


def _make_defaults(decoder: GraphDecoder, _parts: Sequence[Any], row: Sequence[Any]) -> Any:
    return defaultdict(decoder.linked(row[0])[0])


_MAKERS: Final[Mapping[str, Callable[[GraphDecoder, Sequence[Any], Sequence[Any]], Any]]] = {
    "atom": lambda _decoder, _parts, row: row[0],
    "tuple": lambda decoder, _parts, row: tuple(decoder.linked(row)),
    "frozenset": lambda decoder, _parts, row: frozenset(decoder.linked(row, is_hashed=True)),
    "named tuple": lambda decoder, parts, row: tuple.__new__(decoder.named(parts[0]), decoder.linked(row)),
    "named": lambda decoder, _parts, row: decoder.named(row[0]),
    "member": lambda decoder, parts, row: decoder.named(parts[0])[row[0]],
    "deque": lambda _decoder, parts, _row: deque(maxlen=parts[0]),
    "bytearray": lambda _decoder, _parts, row: bytearray(row[0]),
    "range": lambda _decoder, _parts, row: range(*row),
    "slice": lambda _decoder, _parts, row: slice(*row),
    "array": _make_array,
    "sparse array": _make_sparse_array,
    "object array": _make_object_array,
    "view": _make_view,
    "scalar": _make_scalar,
    "machine array": _make_machine_array,
    "method": _make_method,
    "partial": _make_partial,
    "made": _make_made,
    "defaultdict": _make_defaults,
}
