"""Registry of one axis of extension: parts by name, each with its options.

A part is one file: a class or factory with a decorator that names it and its options.  The registry imports the
modules of its own package, and the entry points that other installed packages declare for the axis, when it is first
asked; before that it costs nothing.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Annotated, Any, Generic, TypeVar

from pydantic import Field

from cluster_sim.errors import InputError
from cluster_sim.options import ConfigModel, suggestion

Part = TypeVar("Part")
"""What is registered: a class, or a function that builds one."""


@dataclass(frozen=True, slots=True)
class Entry(Generic[Part]):
    """One registered part."""

    name: str
    options: type[ConfigModel]
    """The block of a study that chooses this part; its ``tag`` field is a ``Literal`` of the name."""
    part: Part
    summary: str
    """One line: the first of the part's docstring."""


class Registry(Generic[Part]):
    """The parts of one axis."""

    def __init__(self, noun: str, package: str, group: str, tag: str = "kind") -> None:
        """Name the axis.

        Messages call a part a ``noun``.  Parts are looked for in the modules of ``package`` and in the entry points
        of ``group``; ``tag`` is the key of a study that holds a part's name.
        """
        self.noun = noun
        self.group = group
        self.tag = tag
        self.failures: dict[str, str] = {}
        """Entry points that could not be loaded, with the package and the error."""
        self._package = package
        self._entries: dict[str, Entry[Part]] = {}
        self._is_scanned = False

    def register(self, name: str, options: type[ConfigModel]) -> Callable[[Part], Part]:
        """Return a decorator that registers a part under ``name``."""

        def keep(part: Part) -> Part:
            assert name not in self._entries, f"the {self.noun} {name!r} is registered twice"
            summary = (getattr(part, "__doc__", None) or "").strip().partition("\n")[0]
            self._entries[name] = Entry(name, options, part, summary)
            return part

        return keep

    def names(self) -> list[str]:
        """Return the registered names, sorted."""
        return sorted(self._scanned())

    def entries(self) -> list[Entry[Part]]:
        """Return every entry, sorted by name."""
        return [self._scanned()[name] for name in self.names()]

    def get(self, name: str) -> Entry[Part]:
        """Return one entry; raise InputError, which lists the known names and the nearest, if there is none."""
        found = self._scanned().get(name)
        if found is None:
            raise InputError(self.unknown(name))
        return found

    def unknown(self, name: str) -> str:
        """Return the message about a name that is not registered."""
        known = self.names()
        broken = "".join(f"; {text}" for text in self.failures.values())
        return f"unknown {self.noun} {name!r}{suggestion(name, known)}; known: {', '.join(known)}{broken}"

    def owners(self, option: str) -> list[str]:
        """Return the names of the parts that have an option."""
        return [entry.name for entry in self.entries() if option in entry.options.model_fields]

    def annotation(self) -> Any:
        """Return the type of a study's block that holds any part's options, told apart by ``tag``."""
        options = tuple(dict.fromkeys(entry.options for entry in self.entries()))
        return Annotated[options, Field(discriminator=self.tag)] if len(options) > 1 else options[0]

    @contextmanager
    def isolated(self) -> Iterator[None]:
        """Forget, at the end of the context, what was registered inside it."""
        before = dict(self._scanned())
        try:
            yield
        finally:
            self._entries = before

    def _scanned(self) -> dict[str, Entry[Part]]:
        if not self._is_scanned:
            self._is_scanned = True
            package = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__, f"{self._package}."):
                importlib.import_module(module.name)
            for point in entry_points(group=self.group):
                self._load(point)
        return self._entries

    def _load(self, point: Any) -> None:
        try:
            point.load()
        except Exception as error:  # noqa: BLE001 - a broken package must not take every other entry with it
            owner = point.dist.name if point.dist is not None else "an unknown package"
            self.failures[point.name] = (
                f"the {self.noun} {point.name!r} of the package {owner} cannot be loaded: "
                f"{type(error).__name__}: {error}"
            )
