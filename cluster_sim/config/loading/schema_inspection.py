"""Schema inspection: the blocks and words that an annotation allows, for messages and for the template."""

from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel


def models_of(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that an annotation may hold, looking through unions, ``Annotated``, tuples and mappings."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) if part is not Ellipsis for model in models_of(part)]


def words_of(annotation: Any) -> list[Any]:
    """Return the words of a ``Literal``, also inside a union with others."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    if get_origin(annotation) in (Union, UnionType):
        return [word for part in get_args(annotation) if part is not NoneType for word in words_of(part)]
    return []


def has_kind(model: type[BaseModel], kind: Any) -> bool:
    """Return whether ``kind`` names this model among the alternatives of a union."""
    field = model.model_fields.get("kind")
    return field is not None and kind in words_of(field.annotation)


def known_keys(root: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Return the keys of the block at ``location``: pydantic's, with list indices and tags of unions in it."""
    candidates = [root]
    for part in location:
        inner = [field for model in candidates if (field := model.model_fields.get(str(part))) is not None]
        if inner:
            candidates = [model for field in inner for model in models_of(field.annotation)]
        else:
            candidates = [model for model in candidates if has_kind(model, part)] or candidates
    return list(dict.fromkeys(key for model in candidates for key in model.model_fields))
