"""Registries of factories: parts that a study chooses by name, one self-registering file each."""

from collections.abc import Callable
from typing import Generic, TypeVar

from cluster_sim.errors import InputError

Section = TypeVar("Section")
"""The part of the study that names the choice."""
Context = TypeVar("Context")
"""What else a product is made for."""
Product = TypeVar("Product")


class Registry(Generic[Section, Context, Product]):
    """Factories by the name that a section of the study gives."""

    def __init__(self, key: str, noun: str, name_of: Callable[[Section], str]) -> None:
        """``name_of`` reads the name, which the study gives as ``key``; messages call what is chosen a ``noun``."""
        self._key = key
        self._noun = noun
        self._name_of = name_of
        self._factories: dict[str, Callable[[Section, Context], Product]] = {}

    def register(
        self, name: str
    ) -> Callable[[Callable[[Section, Context], Product]], Callable[[Section, Context], Product]]:
        """Return a decorator that registers a factory under ``name``."""

        def keep(factory: Callable[[Section, Context], Product]) -> Callable[[Section, Context], Product]:
            assert name not in self._factories, f"{self._noun} {name!r} is registered twice"
            self._factories[name] = factory
            return factory

        return keep

    def build(self, section: Section, context: Context) -> Product:
        """Build what the section names; InputError names the known ones."""
        self.check(section)
        return self._factories[self._name_of(section)](section, context)

    def check(self, section: Section) -> None:
        """Raise InputError, which names the known ones, when what the section names is not registered."""
        name = self._name_of(section)
        if name not in self._factories:
            raise InputError(f"{self._key}: unknown {self._noun} {name!r}; known: {', '.join(self.names())}")

    def names(self) -> list[str]:
        """Return the registered names, sorted."""
        return sorted(self._factories)
