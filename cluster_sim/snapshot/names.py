"""Names of classes, functions and constants in a snapshot, and which of them a snapshot may name.

A snapshot names what it holds as ``module:qualified name``.  Only modules of this project may be named, those of
packages that declare parts for it (docs/extend.md), and a few types of the standard library that the model's state is
made of, so that reading a snapshot never calls anything else.
"""

import importlib
import sys
from functools import cache
from importlib.metadata import entry_points
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, Final

from cluster_sim.kernel.names import KERNEL, kernel_name, source_name

PROJECT: Final = "cluster_sim"
STANDARD: Final = frozenset(
    {
        "builtins:dict",
        "builtins:int",
        "builtins:list",
        "builtins:set",
        "builtins:tuple",
        "collections:OrderedDict",
        "collections:deque",
        "functools:partial",
    }
)
"""Names outside the project that a snapshot may hold: factories of containers."""
_PLAIN: Final = (str, bytes, int, float, bool, type(None), type, FunctionType, BuiltinFunctionType, ModuleType)


class SnapshotError(Exception):
    """A state cannot be written or read as a snapshot: says what is in the way."""


@cache
def outside_packages() -> frozenset[str]:
    """Return the top-level packages that declare parts for the project, on this machine."""
    groups = [group for group in entry_points().groups if group.startswith(f"{PROJECT}.")]
    modules = [entry.value.partition(":")[0] for group in groups for entry in entry_points(group=group)]
    return frozenset(module.partition(".")[0] for module in modules)


def is_allowed(name: str, others: frozenset[str]) -> bool:
    """Return whether a snapshot may name ``module:qualified name``; ``others`` are further top-level packages."""
    package = name.partition(":")[0].partition(".")[0]
    return package == PROJECT or name in STANDARD or package in others or package in outside_packages()


def name_of(value: Any, others: frozenset[str]) -> str:
    """Return the name of a class or function; raise SnapshotError if it has none that leads back to it."""
    name = f"{source_name(value.__module__)}:{value.__qualname__}"
    if not is_allowed(name, others):
        raise SnapshotError(f"{name} is no part of the model")
    try:
        found = value_of(name, others, is_compiled=source_name(value.__module__) != value.__module__)
    except SnapshotError:
        found = None
    if found is not value:
        raise SnapshotError(f"{name} cannot be found by its name: functions inside functions have no place in a state")
    return name


def value_of(name: str, others: frozenset[str], *, is_compiled: bool = False) -> Any:
    """Return what a name stands for, in the compiled kernel if it is there; raise SnapshotError if there is no such
    thing, or it may not be named.
    """
    if not is_allowed(name, others):
        raise SnapshotError(f"{name} is no part of the model")
    module, _, path = name.partition(":")
    try:
        value: Any = importlib.import_module(kernel_name(module) if is_compiled else module)
        for part in path.split("."):
            value = getattr(value, part)
    except (ImportError, AttributeError) as error:
        raise SnapshotError(f"{name} does not exist here") from error
    return value


def constants(others: frozenset[str]) -> dict[int, tuple[str, Any]]:
    """Return the (name, value) of every constant of the project's loaded modules, by its identity.

    The model compares some of them by identity, such as the attributes of requests that have none, so they are written
    as names.
    """
    found: dict[int, tuple[str, Any]] = {}
    for module_name, module in sorted(sys.modules.items()):
        package = module_name.partition(".")[0]
        if package not in (PROJECT, KERNEL) and package not in others:
            continue
        for name, value in list(vars(module).items()):
            if name.startswith("__") or isinstance(value, _PLAIN) or (type(value) is tuple and not value):
                continue
            found.setdefault(id(value), (f"{source_name(module_name)}:{name}", value))
    return found
