"""Encoder of object graphs: every object a row of a table, references by row number, so sharing and cycles are kept.

Design.  A row is ``[shape, value, ...]``.  A shape says what the object is (class, fields) and which of its values are
references, so plain numbers and words need no mark of their own and cost no call: objects of one class whose fields
have the same types share a shape.  The table is walked in order of discovery, without recursion, so a linked list may
be as long as it likes.  What one step of the walk discovers is written class by class and field by field, because a
loop over the values of one field costs a tenth of one over the fields of an object.  A list, tuple, dictionary or set
that nothing but the field of one object refers to stands in the row of that object: nobody could tell that it has no
row of its own.
"""

from array import array
from bisect import bisect_right
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from functools import partial
from itertools import count, repeat
from operator import attrgetter, itemgetter
from sys import getrefcount
from types import BuiltinFunctionType, BuiltinMethodType, FunctionType, MethodType, ModuleType
from typing import Any, Final, cast

import msgpack
import numpy as np

from cluster_sim.kernel.names import attributes_of, source_name
from cluster_sim.snapshot.externals import Externals, fields_of, slots_of
from cluster_sim.snapshot.names import STANDARD, SnapshotError, is_allowed, name_of

ATOMS: Final[frozenset[type]] = frozenset({int, float, str, bytes, bool, type(None)})
"""Types that stand in a row themselves."""
BIG_INTEGER: Final = 1
"""Extension type of integers beyond 64 bits."""

LEAST_SPARSE: Final = 64
"""Elements of an integer array from which on it may be written by its elements that are not 0."""
MOST_FILLED: Final = 4
"""Elements for each of those, at least."""

Row = list[Any]
_Write = Callable[["GraphEncoder", Any], Row]
"""Returns the row of one object."""
_WriteAll = Callable[["GraphEncoder", list[int]], None]
"""Writes the rows of objects of one class, by their numbers."""
_NOTHING: Final[Row] = [None]
"""What ``GraphEncoder.linked`` returns for nothing."""
_TUPLES: Final = {tuple}
_NO_ITEMS: Final[Row] = [_NOTHING, _NOTHING]
_ATOM: Final = ""
_REFERENCE: Final = "&"
_INLINED: Final[frozenset[type]] = frozenset({list, tuple, dict, set})
"""Containers that may stand in the row of their only owner."""


def _owned_counts() -> frozenset[int]:
    """Return the reference counts that ``_marks_of`` sees of what only one field of one object refers to."""
    probe = type("Probe", (), {"__slots__": ("one", "two")})()
    probe.one, probe.two = [], []
    rows = list(map(attrgetter("one", "two"), [probe]))
    columns = list(zip(*rows, strict=True))
    return frozenset(count for column in columns for count in _counts_of(column))


def _counts_of(column: tuple[Any, ...]) -> list[int]:
    return list(map(getrefcount, column))


_OWNED: Final = _owned_counts()


class GraphEncoder:
    """Writes one graph."""

    def __init__(self, externals: Externals) -> None:
        self._externals = externals
        self._named = externals.named
        self._numbers: dict[int, int] = {}
        self._objects: list[Any] = []
        """Every object by its number; keeps those alive that only the walk has made."""
        self._finds: list[tuple[int, int | Sequence[int]]] = []
        """(first of the objects that were found together, the object or the objects that hold them)"""
        self._at = -1
        """Number of the object at hand."""
        self.shapes: list[list[Any]] = []
        self._shape_numbers: dict[Any, int] = {}
        self._rows: list[Any] = []
        self._writers: dict[type, _WriteAll] = {}

    def encode(self, root: Any) -> bytes:
        """Return the graph that begins at ``root``; raise SnapshotError if it holds what no snapshot can hold."""
        self.references((root,))
        rows, objects, named = self._rows, self._objects, self._named
        while len(rows) < len(objects):
            first = len(rows)
            rows.extend(repeat(None, len(objects) - first))
            by_kind: dict[type, list[int]] = {}
            for number in range(first, len(objects)):
                value = objects[number]
                if id(value) in named:
                    rows[number] = [self.shape("named"), named[id(value)][0]]
                else:
                    kind = type(value)
                    if kind in by_kind:
                        by_kind[kind].append(number)
                    else:
                        by_kind[kind] = [number]
            for kind, numbers in by_kind.items():
                self._writer_of(kind, numbers[0])(self, numbers)
        packed: bytes = msgpack.packb([self.shapes, rows], default=_pack_other, use_bin_type=True)
        return packed

    def reference(self, value: Any) -> int:
        """Return the number of an object, a new one when it is new."""
        return self.references((value,))[0]

    def references(self, values: Sequence[Any], owners: Sequence[int] | None = None) -> list[int]:
        """Return the numbers of objects; ``owners`` are those of the objects that hold them, if it is not one."""
        numbers = self._numbers
        identities = list(map(id, values))
        found: list[Any] = list(map(numbers.get, identities))
        if None in found:
            fresh = {
                identity: value
                for identity, value, number in zip(identities, values, found, strict=True)
                if number is None
            }
            self._finds.append((len(self._objects), self._at if owners is None else owners))
            numbers.update(zip(fresh, count(len(self._objects))))
            self._objects.extend(fresh.values())
            found = list(map(numbers.__getitem__, identities))
        return found

    def shape(self, *parts: Any) -> int:
        """Return the number of a shape, a new one when it is new."""
        number = self._shape_numbers.get(parts)
        if number is None:
            number = self._shape_numbers[parts] = len(self.shapes)
            self.shapes.append([list(part) if isinstance(part, tuple) else part for part in parts])
        return number

    def linked(self, values: Iterable[Any]) -> Row:
        """Return values of any number with references in place of objects; the first item says which are references."""
        values = list(values)
        if not values:
            return _NOTHING
        kinds = set(map(type, values))
        if ATOMS.issuperset(kinds):
            return [None, *values]
        if kinds == _TUPLES and all(map(self._is_flat, values)):
            return [False, *values]
        if ATOMS.isdisjoint(kinds):
            return [True, *self.references(values)]
        places = [place for place, value in enumerate(values) if type(value) not in ATOMS]
        for place, number in zip(places, self.references([values[place] for place in places]), strict=True):
            values[place] = number
        return [places, *values]

    def write_fields(self, tag: str, name: str, names: tuple[str, ...], numbers: list[int], rows: list[Any]) -> None:
        """Write objects of one class, given the values of the same fields of each."""
        columns = list(zip(*rows, strict=True))
        marks = [self._marks_of(column) for column in columns]
        if not any(isinstance(mark, list) for mark in marks):
            self._write_alike((tag, name, names), cast("list[str]", marks), numbers, columns)
            return
        alike: dict[Any, tuple[list[int], list[Any]]] = {}
        keys = zip(*(mark if isinstance(mark, list) else repeat(mark) for mark in marks), strict=False)
        for key, number, row in zip(keys, numbers, rows, strict=False):
            own_numbers, own_rows = alike.setdefault(key, ([], []))
            own_numbers.append(number)
            own_rows.append(row)
        for key, (own_numbers, own_rows) in alike.items():
            self._write_alike((tag, name, names), key, own_numbers, list(zip(*own_rows, strict=True)))

    def _marks_of(self, column: tuple[Any, ...]) -> str | list[str]:
        """Return how the values of one field of several objects are written, one word if it is the same for all."""
        kinds = set(map(type, column))
        if ATOMS.issuperset(kinds):
            return _ATOM
        if ATOMS.isdisjoint(kinds) and _INLINED.isdisjoint(kinds):
            return _REFERENCE
        counts = _counts_of(column)
        marks = [
            _ATOM
            if kind in ATOMS
            else kind.__name__
            if kind in _INLINED and (count in _OWNED or (kind is tuple and self._is_flat(value)))
            else _REFERENCE
            for kind, count, value in zip(map(type, column), counts, column, strict=True)
        ]
        return marks[0] if len(set(marks)) == 1 else marks

    def _is_flat(self, value: tuple[Any, ...]) -> bool:
        """Return whether a tuple holds nothing but plain values, so that an equal one may take its place."""
        return ATOMS.issuperset(map(type, value)) and id(value) not in self._named

    def _write_alike(
        self, kind: tuple[str, str, tuple[str, ...]], marks: Sequence[str], numbers: list[int], columns: list[Any]
    ) -> None:
        """Write objects of one class whose fields are all written in the same ways."""
        places, inlined = [], []
        for place, mark in enumerate(marks):
            if mark == _REFERENCE:
                places.append(place)
                columns[place] = self.references(columns[place], numbers)
            elif mark != _ATOM:
                inlined.append((place, mark))
                columns[place] = self._inline(mark, columns[place], numbers)
        shape, written = self.shape(*kind, tuple(places), tuple(inlined)), self._rows
        if not columns:
            for number in numbers:
                written[number] = [shape]
            return
        for number, row in zip(numbers, zip(repeat(shape), *columns, strict=False), strict=True):
            written[number] = row

    def _inline(self, kind: str, column: Sequence[Any], numbers: Sequence[int]) -> list[Row]:
        """Return the items of containers that stand in the rows of the objects with these numbers."""
        found: list[Row] = []
        for number, value in zip(numbers, column, strict=True):
            self._at = number
            if kind == "dict":
                found.append([self.linked(value.keys()), self.linked(value.values())] if value else _NO_ITEMS)
            else:
                found.append(self.linked(value))
        return found

    def write_each(self, write: _Write, numbers: list[int]) -> None:
        """Write objects one after the other."""
        for number in numbers:
            self._at = number
            self._rows[number] = write(self, self._objects[number])

    def objects_of(self, numbers: list[int]) -> list[Any]:
        """Return objects by their numbers."""
        return [self._objects[number] for number in numbers]

    def append_items(self, base: type, numbers: list[int]) -> None:
        """Add to rows of fields the items of objects that are containers as well."""
        for number in numbers:
            self._at = number
            self._rows[number] = [*self._rows[number], _items_of(self, base, self._objects[number])]

    def name_of(self, value: Any) -> str:
        """Return the name of a class or function."""
        try:
            return name_of(value, self._externals.others)
        except SnapshotError as error:
            raise SnapshotError(f"{error}; {self.path()}") from None

    def path(self) -> str:
        """Return how the object at hand was found, for messages."""
        names: list[str] = []
        number = self._at
        while number >= 0 and len(names) < 12:
            names.append(type(self._objects[number]).__qualname__)
            number = self._holder_of(number)
        return "found in " + " < ".join(names)

    def _holder_of(self, number: int) -> int:
        """Return the object that an object was found by; -1 for the root."""
        owners = self._finds[bisect_right(self._finds, number, key=itemgetter(0)) - 1][1]
        if isinstance(owners, int):
            return owners
        value = self._objects[number]
        return next(
            (owner for owner in owners if any(item is value for _, item in fields_of(self._objects[owner]))), owners[0]
        )

    def _writer_of(self, kind: type, number: int) -> _WriteAll:
        """Return what writes the instances of a class, of which object ``number`` is one."""
        writer = self._writers.get(kind)
        if writer is None:
            self._at = number
            writer = self._writers[kind] = self._find_writer(kind)
        return writer

    def _find_writer(self, kind: type) -> _WriteAll:
        """Return what writes the instances of a class that was not met before."""
        if kind in _WRITERS:
            return _each(_WRITERS[kind])
        if issubclass(kind, Enum):
            return _each(_write_member)
        if issubclass(kind, np.generic):
            return _each(_write_scalar)
        name = f"{source_name(kind.__module__)}:{kind.__qualname__}"
        if name in STANDARD or not is_allowed(name, self._externals.others):
            raise SnapshotError(f"a {kind.__module__}.{kind.__qualname__} has no place in a state; {self.path()}")
        package = kind.__module__.partition(".")[0]
        if any("__reduce__" in base.__dict__ for base in kind.__mro__ if base.__module__.partition(".")[0] == package):
            return _each(_write_made)
        if issubclass(kind, tuple):
            return _each(partial(_write_named_tuple, self.name_of(kind)))
        return self._object_writer(kind)

    def _object_writer(self, kind: type) -> _WriteAll:
        """Return what writes the instances of a class of the model: its fields, and its items if it is a container."""
        name = self.name_of(kind)
        without = frozenset(getattr(kind, "SNAPSHOT_WITHOUT", ()))
        base = next((base for base in (dict, list, set, deque) if issubclass(kind, base)), None)
        slots = (*(slot for slot in slots_of(kind) if slot not in without), *getattr(kind, "SNAPSHOT_WITH", ()))
        get = attrgetter(*slots) if slots else None
        has_dict = attributes_of(kind) is None and any("__dict__" in base.__dict__ for base in kind.__mro__)

        def fields(value: Any) -> tuple[tuple[str, ...], tuple[Any, ...]]:
            if get is None:
                names: tuple[str, ...] = ()
                values: tuple[Any, ...] = ()
            else:
                try:
                    values = get(value) if len(slots) > 1 else (get(value),)
                    names = slots
                except AttributeError:
                    names = tuple(slot for slot in slots if hasattr(value, slot))
                    values = tuple(getattr(value, slot) for slot in names)
            if has_dict:
                own = value.__dict__
                if without:
                    own = {name: item for name, item in own.items() if name not in without}
                return (*names, *own), (*values, *own.values())
            return names, values

        tag = "object" if base is None else f"object of {base.__name__}"

        def write(self: "GraphEncoder", numbers: list[int]) -> None:
            alike: dict[tuple[str, ...], tuple[list[int], list[Any]]] = {}
            for number, value in zip(numbers, self.objects_of(numbers), strict=True):
                names, values = fields(value)
                own_numbers, own_rows = alike.setdefault(names, ([], []))
                own_numbers.append(number)
                own_rows.append(values)
            for names, (own_numbers, own_rows) in alike.items():
                self.write_fields(tag, name, names, own_numbers, own_rows)
            if base is not None:
                self.append_items(base, numbers)

        def write_slots(self: "GraphEncoder", numbers: list[int]) -> None:
            assert get is not None
            try:
                rows = list(map(get, self.objects_of(numbers)))
            except AttributeError:  # Some have fields that are not set.
                write(self, numbers)
            else:
                self.write_fields(tag, name, slots, numbers, rows)

        return write_slots if len(slots) > 1 and not has_dict and base is None else write


def _each(write: _Write) -> _WriteAll:
    return lambda encoder, numbers: encoder.write_each(write, numbers)


def _items_of(encoder: GraphEncoder, base: type, value: Any) -> list[Row]:
    if base is dict:
        return [encoder.linked(value.keys()), encoder.linked(value.values())]
    return [encoder.linked(value)]


def _pack_other(value: Any) -> Any:
    if isinstance(value, int):
        size = (value.bit_length() + 8) // 8
        return msgpack.ExtType(BIG_INTEGER, value.to_bytes(size, "little", signed=True))
    raise SnapshotError(f"a {type(value).__qualname__} has no place in a row of a snapshot")


def _write_items(tag: str) -> _Write:
    def write(encoder: GraphEncoder, value: Any) -> Row:
        return [encoder.shape(tag), *encoder.linked(value)]

    return write


def _write_mapping(tag: str) -> _Write:
    def write(encoder: GraphEncoder, value: Any) -> Row:
        return [encoder.shape(tag), encoder.linked(value.keys()), encoder.linked(value.values())]

    return write


def _write_deque(encoder: GraphEncoder, value: "deque[Any]") -> Row:
    return [encoder.shape("deque", value.maxlen), *encoder.linked(value)]


def _write_defaults(encoder: GraphEncoder, value: "defaultdict[Any, Any]") -> Row:
    factory = encoder.linked([value.default_factory])
    return [encoder.shape("defaultdict"), factory, encoder.linked(value.keys()), encoder.linked(value.values())]


def _write_named_tuple(name: str, encoder: GraphEncoder, value: Sequence[Any]) -> Row:
    return [encoder.shape("named tuple", name), *encoder.linked(value)]


def _write_atom(encoder: GraphEncoder, value: Any) -> Row:
    return [encoder.shape("atom"), value]


def _write_bytearray(encoder: GraphEncoder, value: bytearray) -> Row:
    return [encoder.shape("bytearray"), bytes(value)]


def _write_machine_array(encoder: GraphEncoder, value: "array[Any]") -> Row:
    return [encoder.shape("machine array", value.typecode), value.tobytes()]


def _write_range(encoder: GraphEncoder, value: range) -> Row:
    return [encoder.shape("range"), value.start, value.stop, value.step]


def _write_slice(encoder: GraphEncoder, value: slice) -> Row:
    return [encoder.shape("slice"), value.start, value.stop, value.step]


def _write_array(encoder: GraphEncoder, value: Any) -> Row:
    """Write a numpy array; views of one array stay views of it."""
    if value.dtype.hasobject:
        return [encoder.shape("object array"), list(value.shape), encoder.linked(value.ravel().tolist())]
    base = value.base
    if isinstance(base, np.ndarray) and base.flags.owndata and base.flags.c_contiguous and not base.dtype.hasobject:
        start = value.__array_interface__["data"][0] - base.__array_interface__["data"][0]
        view = [encoder.reference(base), start, list(value.shape), list(value.strides)]
        return [encoder.shape("view", value.dtype.str, value.flags.writeable), *view]
    if value.size >= LEAST_SPARSE and value.dtype.kind in "iu" and value.flags.c_contiguous:
        flat = value.ravel()
        (places,) = flat.nonzero()
        if len(places) * MOST_FILLED < value.size:
            shape = encoder.shape("sparse array", value.dtype.str, value.flags.writeable)
            return [shape, list(value.shape), places.astype("<i8").tobytes(), flat[places].tobytes()]
    order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
    shape = encoder.shape("array", value.dtype.str, order, value.flags.writeable)
    return [shape, list(value.shape), value.tobytes(order)]


def _write_scalar(encoder: GraphEncoder, value: Any) -> Row:
    return [encoder.shape("scalar", value.dtype.str), value.tobytes()]


def _write_member(encoder: GraphEncoder, value: Enum) -> Row:
    return [encoder.shape("member", encoder.name_of(type(value))), value.name]


def _write_reference(encoder: GraphEncoder, value: Any) -> Row:
    return [encoder.shape("named"), encoder.name_of(value)]


def _write_method(encoder: GraphEncoder, value: Any) -> Row:
    owner = value.__self__
    if owner is None or isinstance(owner, ModuleType) or getattr(owner, value.__name__, None) != value:
        return _write_reference(encoder, value)
    return [encoder.shape("method", value.__name__), encoder.reference(owner)]


def _write_partial(encoder: GraphEncoder, value: "partial[Any]") -> Row:
    return [encoder.shape("partial"), *map(encoder.reference, (value.func, value.args, value.keywords))]


def _write_made(encoder: GraphEncoder, value: Any) -> Row:
    function, arguments = value.__reduce__()
    return [encoder.shape("made", encoder.name_of(function)), *encoder.linked(arguments)]


_WRITERS: Final[dict[type, _Write]] = {
    **dict.fromkeys(ATOMS, _write_atom),
    list: _write_items("list"),
    tuple: _write_items("tuple"),
    set: _write_items("set"),
    frozenset: _write_items("frozenset"),
    dict: _write_mapping("dict"),
    OrderedDict: _write_mapping("OrderedDict"),
    defaultdict: _write_defaults,
    deque: _write_deque,
    bytearray: _write_bytearray,
    array: _write_machine_array,
    range: _write_range,
    slice: _write_slice,
    np.ndarray: _write_array,
    type: _write_reference,
    FunctionType: _write_reference,
    BuiltinFunctionType: _write_method,
    BuiltinMethodType: _write_method,
    MethodType: _write_method,
    partial: _write_partial,
}
