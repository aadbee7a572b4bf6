"""Tests of object graphs as bytes."""

from array import array
from collections import OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest

from cluster_sim.engine.coordinator import Traffic
from cluster_sim.engine.instant import instant
from cluster_sim.snapshot.externals import Externals
from cluster_sim.snapshot.graph import decode_graph, encode_graph
from cluster_sim.snapshot.names import SnapshotError
from cluster_sim.workload.request import NO_ATTRIBUTES, Attributes, Request
from tests.copied import copied


class Link(NamedTuple):
    """A tuple with names."""

    value: int
    other: Any


@dataclass(frozen=True, slots=True)
class Key:
    """Something hashed by its fields."""

    name: str
    number: int


@dataclass(slots=True)
class Node:
    """Something with slots."""

    value: Any = None
    following: "Node | None" = None
    items: list[Any] = field(default_factory=list)

    def double(self) -> int:
        """Return twice the value."""
        return 2 * int(self.value)


class Table(dict[int, str]):
    """A mapping with fields of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.note = "x"


class Counted:
    """Something that makes a field anew."""

    SNAPSHOT_WITHOUT = ("_rest",)

    def __init__(self) -> None:
        self.taken = 3
        self._rest: Any = iter(())

    def after_restore(self) -> None:
        """Make the field again."""
        self._rest = self.taken


VALUES = [
    [1, 2.5, "ä", b"\0", None, True, -(1 << 63), (1 << 64) - 1, 1 << 200, -(1 << 90), float("inf")],
    {"a": [1], 2: (3, "b"), (4, 5): {6, 7}, None: frozenset({8})},
    OrderedDict([(2, "b"), (1, "a")]),
    deque([1, 2, [3]], maxlen=5),
    (Link(1, (Link(2, None),)), range(3, 9, 2), slice(1, None), Key("k", 2)),
    {Key("k", 1): 1, (Key("k", 2), 3): 2},
    bytearray(b"abc"),
    array("q", [1, -2]),
    [1, [2, [3, []]], "mixed", {}],
]


@pytest.mark.parametrize("value", VALUES, ids=[type(value).__name__ + str(i) for i, value in enumerate(VALUES)])
def test_values_come_back(value: Any) -> None:
    """Plain values, containers in their order, integers of any size and keys hashed by their fields are the same."""
    again = copied(value)
    assert again == value
    assert type(again) is type(value)
    assert list(again) == list(value)


def test_arrays_of_few_numbers_come_back() -> None:
    """Large arrays that are mostly 0 keep shape and type, whether they may be written, and all of their numbers."""
    sparse = np.zeros((40, 5), np.int32)
    sparse[3, 4], sparse[39, 0] = -7, 1 << 30
    frozen = np.zeros(200, np.uint8)
    frozen.setflags(write=False)
    found, still = copied([sparse, frozen])
    assert found.dtype == np.int32
    assert np.array_equal(found, sparse)
    assert found.flags.writeable
    assert still.shape == (200,)
    assert not still.any()
    assert not still.flags.writeable


def test_arrays_come_back_with_their_views() -> None:
    """Arrays keep type, shape and order of memory; a view of an array is a view of its copy."""
    base = np.arange(12, dtype=np.int64).reshape(3, 4)
    arrays = copied(
        [base, base[1:, ::2], np.float32(0.1), np.asfortranarray(base * 0.5), np.array([1 << 80, 3], object)]
    )
    whole, view, scalar, turned, big = arrays
    assert (whole == base).all()
    assert view.tolist() == [[4, 6], [8, 10]]
    whole[1, 2] = 99
    assert view[0, 1] == 99
    assert (scalar, type(scalar)) == (np.float32(0.1), np.float32)
    assert turned.flags.f_contiguous
    assert (turned == base * 0.5).all()
    assert big.tolist() == [1 << 80, 3]


def test_sharing_and_cycles_are_kept() -> None:
    """One object stays one, also where it refers to itself, and a bound method stays bound to it."""
    node = Node(21)
    node.items = [node, node.double, partial(instant, node.items, kind=None)]
    both = copied([node, node, Link(0, node)])
    assert both[0] is both[1] is both[2].other is both[0].items[0]
    assert both[0].items[1]() == 42
    assert both[0].items[2].func is instant


def test_subclasses_of_containers_keep_their_fields() -> None:
    """Items and fields of a mapping's subclass, and the factory of a mapping with defaults."""
    table = Table()
    table[3] = "c"
    again, counts = copied([table, defaultdict(list, {1: [2]})])
    assert (again, again.note, type(again)) == ({3: "c"}, "x", Table)
    assert (counts[1], counts[5]) == ([2], [])


def test_a_long_chain_needs_no_recursion() -> None:
    """A linked list of 50,000 nodes comes back whole."""
    first = node = Node(0)
    for number in range(1, 50_000):
        node.following = Node(number)
        node = node.following
    again: Node | None = copied(first)
    length = 0
    while again is not None:
        assert again.value == length
        length, again = length + 1, again.following
    assert length == 50_000


def test_constants_stay_the_ones_of_their_modules() -> None:
    """What the model compares by identity is written as a name."""
    plain, own = copied([Request(0, 1, 2, 3), Request(1, 1, 2, 3, Attributes(tenant="t"))])
    assert plain.attributes is NO_ATTRIBUTES
    assert own.attributes == Attributes(tenant="t")


def test_fields_left_out_are_made_again() -> None:
    """A class may name fields that a snapshot leaves out, and make them when all is restored."""
    assert copied(Counted())._rest == 3


def test_what_stays_outside_is_supplied_by_name() -> None:
    """An external object is replaced by the one of the same name, and so is whatever hangs on it."""
    old, new = Node([Node(1), "x"]), Node([Node(2), "y"])
    written, read = Externals(frozenset({"tests"})), Externals(frozenset({"tests"}))
    written.add_all("shared", old)
    read.add_all("shared", new)
    again = decode_graph(encode_graph({"a": [old, old.value[0]]}, written), read)["a"]
    assert again[0] is new
    assert again[1] is new.value[0]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda: 1, "functions inside functions have no place in a state|<lambda> cannot be found"),
        (
            (number for number in range(3)),
            "a builtins.generator has no place in a state; found in generator < Node",
        ),
        (iter([1]), "list_iterator has no place"),
        (open, "open is no part of the model"),
        (np.random.default_rng(1), "has no place in a state"),
        (pytest.fixture, "is no part of the model"),
    ],
)
def test_what_no_snapshot_can_hold_is_named(value: Any, message: str) -> None:
    """Closures, generators and foreign objects are refused with the way to them."""
    with pytest.raises(SnapshotError, match=message):
        copied(Node(value))


def test_names_outside_the_model_are_never_called() -> None:
    """A snapshot that names something else is refused before anything of it is used."""
    data = encode_graph({"a": Traffic()}, Externals())
    name = b"cluster_sim.engine.coordinator:Traffic"
    forged = data.replace(name, b"os:" + b"s" * (len(name) - 3))
    with pytest.raises(SnapshotError, match=r"os:s+ is no part of the model"):
        decode_graph(forged, Externals())
    gone = data.replace(name, name[:-1] + b"x")
    with pytest.raises(SnapshotError, match="coordinator:Traffix does not exist here"):
        decode_graph(gone, Externals())


def test_other_bytes_are_no_graph() -> None:
    """Bytes that are no msgpack end in one error."""
    with pytest.raises(SnapshotError, match="is no snapshot of a state"):
        decode_graph(b"\xc1\x00", Externals())
