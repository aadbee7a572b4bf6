"""Blocks and words that an annotation of the schema allows: for messages and for the template."""

from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel

from cluster_sim.registry import Block, Name, Registry


class Choice(NamedTuple):
    """One model that may stand in a place: a plain block, or a part of an axis."""

    model: type[BaseModel]
    tag: str = ""
    """The key that names the part; empty for a plain block."""
    name: str | None = None
    is_default: bool = False
    """Whether a block without the key is this part's."""
    summary: str = ""

    def fits(self, value: Any) -> bool:
        """Return whether ``value``, a block or a model, is written for this choice."""
        if isinstance(value, BaseModel):
            return type(value) is self.model and getattr(value, self.tag, None) == self.name
        if not isinstance(value, dict) or self.name is None:
            return True
        return value.get(self.tag, self.name if self.is_default else None) == self.name


def choices_of(annotation: Any) -> list[Choice]:
    """Return the models that an annotation may hold, looking through unions, ``Annotated``, tuples and mappings."""
    if isinstance(annotation, type) and issubclass(annotation, Block):
        registry = annotation.registry
        return [
            Choice(entry.options, registry.tag, entry.name, entry.name == registry.default, entry.summary)
            for entry in registry.entries()
        ]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [Choice(annotation)]
    return [choice for part in get_args(annotation) if part is not Ellipsis for choice in choices_of(part)]


def models_of(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that an annotation may hold."""
    return list(dict.fromkeys(choice.model for choice in choices_of(annotation)))


def registry_of(annotation: Any) -> Registry[Any] | None:
    """Return the registry whose parts an annotation may hold, looking through unions, tuples and mappings."""
    if isinstance(annotation, type) and issubclass(annotation, Block):
        return annotation.registry
    found = (registry_of(part) for part in get_args(annotation) if part is not Ellipsis)
    return next((registry for registry in found if registry is not None), None)


def words_of(annotation: Any) -> list[Any]:
    """Return the words of a ``Literal`` or the names of an axis, also inside a union with others."""
    if isinstance(annotation, type) and issubclass(annotation, Name):
        return annotation.names()
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    if get_origin(annotation) in (Union, UnionType, Annotated):
        return [word for part in get_args(annotation) if part is not NoneType for word in words_of(part)]
    return []


class SchemaPlace(NamedTuple):
    """A place of a file, as its schema sees it."""

    models: list[type[BaseModel]]
    """What may stand there."""
    registry: Registry[Any] | None
    """The axis whose parts may stand there."""
    name: str | None
    """The part that does."""

    @property
    def keys(self) -> list[str]:
        """The keys that may stand in the block."""
        return list(dict.fromkeys(key for model in self.models for key in model.model_fields))


def place_at(root: type[BaseModel], location: tuple[int | str, ...]) -> SchemaPlace:
    """Return the place at ``location``: pydantic's, with list indices and tags of unions in it."""
    place = SchemaPlace([root], None, None)
    for step in location:
        if isinstance(step, int):
            continue
        if place.registry is not None and place.name is None and step in place.registry.names():
            place = SchemaPlace([place.registry.get(step).options], place.registry, step)
            continue
        fields = [field for model in place.models if (field := model.model_fields.get(step)) is not None]
        if fields:
            models = [model for field in fields for model in models_of(field.annotation)]
            registries = [registry_of(field.annotation) for field in fields]
            place = SchemaPlace(models, next((found for found in registries if found is not None), None), None)
    return place
