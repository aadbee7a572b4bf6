"""Externals: predictors, options, sources and other unchanging things that a state refers to without holding them.

Whoever restores a state supplies equal ones under the same names.
"""

import sys
from collections import deque
from collections.abc import Mapping
from functools import partial
from operator import itemgetter
from types import FunctionType, MethodType
from typing import Any, Final

from pydantic import BaseModel

from cluster_sim.kernel.names import attributes_of, source_name
from cluster_sim.snapshot.names import PROJECT, constants

MOST_ITEMS: Final = 512
"""Longest container whose items get names of their own: longer ones are tables, which states name whole."""
_LEAVES: Final = (str, bytes, int, float, bool, type(None), type)


class Externals:
    """Named objects; every object that can be reached from one of them has a name as well."""

    def __init__(self, others: frozenset[str] = frozenset()) -> None:
        """``others`` are top-level packages beside the project whose objects are looked into."""
        self.others = others
        self.by_identity: dict[int, tuple[str, Any]] = {}
        self.by_name: dict[str, Any] = {}
        self.is_compiled = False
        """Whether a state that is read becomes one of the compiled kernel."""
        self._constants: dict[int, tuple[str, Any]] = {}
        self._modules = 0

    @property
    def named(self) -> dict[int, tuple[str, Any]]:
        """The (name, value) of everything that is written as a name, by its identity."""
        return self._known_constants() | self.by_identity

    def _known_constants(self) -> dict[int, tuple[str, Any]]:
        if self._modules != len(sys.modules):
            self._modules = len(sys.modules)
            self._constants = constants(self.others)
        return self._constants

    def copy(self) -> "Externals":
        """Return the same names, to which others can be added."""
        copied = Externals(self.others)
        copied.by_identity, copied.by_name = dict(self.by_identity), dict(self.by_name)
        copied.is_compiled = self.is_compiled
        copied._constants, copied._modules = self._known_constants(), self._modules
        return copied

    def add(self, name: str, value: Any) -> None:
        """Name an object alone."""
        self.by_name[name] = value
        self.by_identity[id(value)] = (name, value)

    def stand_in(self, original: Any, copy: Any) -> None:
        """Let ``copy`` have the name that ``original`` has, if it has one: what is read gets it in its place."""
        if id(original) in self.by_identity:
            self.add(self.by_identity[id(original)][0], copy)

    def add_all(self, name: str, value: Any) -> None:
        """Name an object and all that can be reached from it and is not named yet.

        Parts of what is ``SNAPSHOT_WHOLE`` have no names: whoever restores a state may supply others.
        """
        waiting: deque[tuple[str, Any]] = deque([(name, value)])
        while waiting:
            path, found = waiting.popleft()
            is_nothing = type(found) is tuple and not found
            if is_nothing or isinstance(found, _LEAVES) or id(found) in self.by_identity:
                continue
            self.add(path, found)
            if getattr(type(found), "SNAPSHOT_WHOLE", False):
                continue
            waiting.extend((f"{path}{step}", child) for step, child in self._children(found))

    def _children(self, value: Any) -> list[tuple[str, Any]]:
        if isinstance(value, partial):
            return [(".func", value.func), (".args", value.args), (".keywords", value.keywords)]
        if isinstance(value, MethodType):
            return [(".self", value.__self__)]
        if isinstance(value, FunctionType):
            cells = value.__closure__ or ()
            return [(f".cell{index}", cell.cell_contents) for index, cell in enumerate(cells)]
        if isinstance(value, Mapping):
            return [(f"[{key!r}]", item) for key, item in value.items()] if len(value) <= MOST_ITEMS else []
        if isinstance(value, (list, tuple)):
            return [(f"[{index}]", item) for index, item in enumerate(value)] if len(value) <= MOST_ITEMS else []
        if isinstance(value, BaseModel):
            return [(f".{name}", getattr(value, name)) for name in type(value).model_fields]
        package = source_name(type(value).__module__).partition(".")[0]
        if package == PROJECT or package in self.others:
            return [(f".{name}", item) for name, item in sorted(fields_of(value), key=itemgetter(0))]
        return []


def externals_of(named: Mapping[str, Any]) -> Externals:
    """Return objects by name, each with all that can be reached from it."""
    externals = Externals()
    for name, value in named.items():
        externals.add_all(name, value)
    return externals


def slots_of(cls: type) -> tuple[str, ...]:
    """Return the names of the slots of a class and its bases."""
    compiled = attributes_of(cls)
    if compiled is not None:
        return compiled
    names: list[str] = []
    for base in reversed(cls.__mro__):
        slots = base.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name in ("__dict__", "__weakref__"):
                continue
            names.append(f"_{base.__name__.lstrip('_')}{name}" if name.startswith("__") and name[-2:] != "__" else name)
    return tuple(dict.fromkeys(names))


def fields_of(value: Any) -> list[tuple[str, Any]]:
    """Return the fields of an object that are set, with their values."""
    slots = [(name, getattr(value, name)) for name in slots_of(type(value)) if hasattr(value, name)]
    return [*slots, *getattr(value, "__dict__", {}).items()]
