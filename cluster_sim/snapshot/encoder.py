"""Encoder of object graphs: every object a row of a table, references by row number, so sharing and cycles are kept.

Design.  A row is ``[shape, value, ...]``.  A shape says what the object is (class, fields) and which of its values are
references, so plain numbers and words need no mark of their own and cost no call: objects of one class whose fields
have the same types share a shape.  The table is walked in order of discovery, without recursion, so a linked list may
be as long as it likes.
"""

from array import array
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from functools import partial
from operator import attrgetter
from types import BuiltinFunctionType, BuiltinMethodType, FunctionType, MethodType, ModuleType
from typing import Any, Final

import msgpack
import numpy as np

from cluster_sim.snapshot.externals import Externals, slots_of
from cluster_sim.snapshot.names import STANDARD, SnapshotError, is_allowed, name_of

ATOMS: Final[frozenset[type]] = frozenset({int, float, str, bytes, bool, type(None)})
"""Types that stand in a row themselves."""
BIG_INTEGER: Final = 1
"""Extension type of integers beyond 64 bits."""

Row = list[Any]
_Write = Callable[["GraphEncoder", Any], Row]


class GraphEncoder:
    """Writes one graph."""

    def __init__(self, externals: Externals) -> None:
        self._externals = externals
        self._named = externals.named
        self._numbers: dict[int, int] = {}
        self._objects: list[Any] = []
        """Every object by its number; keeps those alive that only the walk has made."""
        self._found_by: list[int] = []
        self._at = -1
        self.shapes: list[list[Any]] = []
        self._shape_numbers: dict[Any, int] = {}
        self._writers: dict[type, _Write] = dict(_WRITERS)

    def encode(self, root: Any) -> bytes:
        """Return the graph that begins at ``root``; raise SnapshotError if it holds what no snapshot can hold."""
        self.reference(root)
        rows, objects, writers, named = [], self._objects, self._writers, self._named
        for number, value in enumerate(objects):
            self._at = number
            if id(value) in named:
                rows.append([self.shape("named"), named[id(value)][0]])
                continue
            kind = type(value)
            writer = writers.get(kind)
            if writer is None:
                writer = writers[kind] = self._find_writer(kind)
            rows.append(writer(self, value))
        packed: bytes = msgpack.packb([self.shapes, rows], default=_pack_other, use_bin_type=True)
        return packed

    def reference(self, value: Any) -> int:
        """Return the number of an object, a new one when it is new."""
        number = self._numbers.get(id(value))
        if number is None:
            number = self._numbers[id(value)] = len(self._objects)
            self._objects.append(value)
            self._found_by.append(self._at)
        return number

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
        if ATOMS.issuperset(map(type, values)):
            return [None, *values]
        places = [place for place, value in enumerate(values) if type(value) not in ATOMS]
        reference = self.reference
        for place in places:
            values[place] = reference(values[place])
        return [True if len(places) == len(values) else places, *values]

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
            number = self._found_by[number]
        return "found in " + " < ".join(names)

    def _find_writer(self, kind: type) -> _Write:
        """Return what writes the instances of a class that was not met before."""
        if issubclass(kind, Enum):
            return _write_member
        if issubclass(kind, np.generic):
            return _write_scalar
        name = f"{kind.__module__}:{kind.__qualname__}"
        if name in STANDARD or not is_allowed(name, self._externals.others):
            raise SnapshotError(f"a {kind.__module__}.{kind.__qualname__} has no place in a state; {self.path()}")
        package = kind.__module__.partition(".")[0]
        if any("__reduce__" in base.__dict__ for base in kind.__mro__ if base.__module__.partition(".")[0] == package):
            return _write_made
        if issubclass(kind, tuple):
            return partial(_write_named_tuple, self.name_of(kind))
        return self._object_writer(kind)

    def _object_writer(self, kind: type) -> _Write:
        """Return what writes the instances of a class of the model: its fields, and its items if it is a container."""
        name = self.name_of(kind)
        without = frozenset(getattr(kind, "SNAPSHOT_WITHOUT", ()))
        base = next((base for base in (dict, list, set, deque) if issubclass(kind, base)), None)
        slots = tuple(slot for slot in slots_of(kind) if slot not in without)
        get = attrgetter(*slots) if slots else None
        has_dict = any("__dict__" in base.__dict__ for base in kind.__mro__)

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

        known: dict[tuple[Any, ...], tuple[int, list[int]]] = {}

        def write(self: "GraphEncoder", value: Any) -> Row:
            names, values = fields(value)
            types = tuple(map(type, values))
            shaped = known.get((names, types))
            if shaped is None:
                places = [place for place, found in enumerate(types) if found not in ATOMS]
                tag = "object" if base is None else f"object of {base.__name__}"
                shaped = known[names, types] = self.shape(tag, name, names, tuple(places)), places
            number, places = shaped
            row = [number, *values]
            reference = self.reference
            for place in places:
                row[place + 1] = reference(values[place])
            if base is not None:
                row.append(_items_of(self, base, value))
            return row

        return write


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
