"""Names of the compiled kernel: each is that of a source, with another package before it."""

import importlib
import sys
from typing import Any, Final

from cluster_sim.kernel.modules import MODULES

PROJECT: Final = "cluster_sim"
KERNEL: Final = "cluster_sim_kernel"
_MODULES: Final = frozenset(MODULES)


def counterpart(part: Any) -> Any:
    """Return the compiled class or function of one of the sources; raise LookupError if there is none."""
    module: str = part.__module__
    if module not in _MODULES:
        raise LookupError(f"{module}.{part.__qualname__} is not compiled")
    found = importlib.import_module(kernel_name(module))
    for name in part.__qualname__.split("."):
        found = getattr(found, name)
    return found


def kernel_name(module: str) -> str:
    """Return the name of the kernel's module for one of the sources; of any other, its own."""
    return f"{KERNEL}{module.removeprefix(PROJECT)}" if module in _MODULES else module


def source_name(module: str) -> str:
    """Return the name of the source of a module of the kernel; of any other, its own."""
    return f"{PROJECT}{module.removeprefix(KERNEL)}" if module.partition(".")[0] == KERNEL else module


def is_compiled(value: Any) -> bool:
    """Return whether an object is an instance of a class of the kernel."""
    return KERNEL in sys.modules and type(value).__module__.partition(".")[0] == KERNEL


def attributes_of(cls: type) -> tuple[str, ...] | None:
    """Return the names of what instances of a compiled class hold; None if it is no such class."""
    names: tuple[str, ...] | None = getattr(cls, "__mypyc_attrs__", None)
    return None if names is None else tuple(name for name in names if name not in ("__dict__", "__weakref__"))
