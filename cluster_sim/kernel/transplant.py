"""Copies of a run's predictors and of what builds its schedulers, made of the kernel's classes."""

from functools import partial
from types import FunctionType
from typing import Any, Final

from cluster_sim.kernel.modules import MODULES
from cluster_sim.kernel.names import attributes_of, counterpart

_PLAIN: Final = (str, bytes, int, float, bool, type(None))
_MODULES: Final = frozenset(MODULES)


class NotCompiledError(LookupError):
    """A class that the step loop would have to call is not in the kernel: the run has to do without it."""


class Transplant:
    """Copies objects of the sources' classes into objects of the kernel's, and shares all others."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[Any, Any]] = {}
        """(original, copy) by the identity of the original."""

    def of(self, value: Any) -> Any:
        """Return what stands for a value in the kernel: itself where it holds nothing of the sources.

        Raises NotCompiledError for an instance of a class that extends one of the kernel's from outside.
        """
        if isinstance(value, _PLAIN):
            return value
        if id(value) not in self._made:
            self._made[id(value)] = (value, value)
            self._made[id(value)] = (value, self._copy(value))
        return self._made[id(value)][1]

    def copies(self) -> list[tuple[Any, Any]]:
        """Return (original, copy) of everything that was copied."""
        return [(value, copy) for value, copy in self._made.values() if value is not copy]

    def _copy(self, value: Any) -> Any:
        if isinstance(value, (type, FunctionType)):
            return counterpart(value) if value.__module__ in _MODULES else value
        if isinstance(value, partial):
            keywords = {name: self.of(item) for name, item in value.keywords.items()}
            return partial(self.of(value.func), *map(self.of, value.args), **keywords)
        if type(value) in (list, tuple):
            items = [self.of(item) for item in value]
            is_same = all(new is old for new, old in zip(items, value, strict=True))
            return value if is_same else type(value)(items)
        if type(value) is dict:
            return {key: self.of(item) for key, item in value.items()}
        return self._copied_object(value)

    def _copied_object(self, value: Any) -> Any:
        cls = type(value)
        if cls.__module__ not in _MODULES:
            if any(base.__module__ in _MODULES and counterpart(base) is not base for base in cls.__mro__):
                raise NotCompiledError(f"{cls.__module__}.{cls.__qualname__} is not compiled")
            return value
        kind = counterpart(cls)
        names = None if kind is cls else attributes_of(kind)
        if names is None:
            return value
        made = kind.__new__(kind)
        self._made[id(value)] = (value, made)
        for name in names:
            if hasattr(value, name):
                object.__setattr__(made, name, self.of(getattr(value, name)))
        return made
