"""Validation messages: the place in a file, the key, the fault, and the allowed values."""

from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from cluster_sim.document import Document, KeyPath, dotted
from cluster_sim.options import listed
from cluster_sim.schema_inspection import place_at
from cluster_sim.shown_values import cut, shortened
from cluster_sim.suggestion import suggestion

MOST_OF_KEY: Final = 200
"""Characters of a dotted key that a message shows."""
MAX_PROBLEMS: Final = 10
"""Problems that one message lists."""

WORDING: Final = {
    "Input should be": "must be",
    "String should": "must",
    "a valid array": "a list",
    "a valid integer": "a whole number",
    "a valid boolean": "true or false",
    "a valid ": "a ",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    "Tuple should have at least 1 item after validation, not 0": "needs at least one item",
    "Dictionary should have at least 1 item after validation, not 0": "needs at least one key",
}
"""Phrases of the validator and their replacements."""


def message_of(root: type[BaseModel], document: Document, errors: list[ErrorDetails]) -> str:
    """Return one line per faulty key of a ``root``; alternatives of a union that failed at one key share a line."""
    problems: dict[tuple[str, str], list[str]] = {}
    for error in errors:
        if _is_consequence(error):
            continue
        path, text = _document_path(root, document.data, error), _describe(root, error)
        key, colon, rest = text.partition(": ")
        if error["type"] == "value_error" and colon and (*path, key) in document.places:
            path, text = (*path, key), rest  # A rule about several keys begins with the one to look at.
        line = problems.setdefault((document.where(path), cut(dotted(path), MOST_OF_KEY)), [])
        if text not in line:
            line.append(text)
    lines = [f"{where}: {key + ': ' if key else ''}{' or '.join(texts)}" for (where, key), texts in problems.items()]
    if len(lines) > MAX_PROBLEMS:
        lines = [*lines[:MAX_PROBLEMS], f"... and {len(lines) - MAX_PROBLEMS} more"]
    return "\n".join(lines)


def _is_consequence(error: ErrorDetails) -> bool:
    """Return whether a list counts as too short only because its items have faults of their own."""
    given = error["input"]
    return error["type"] == "too_short" and isinstance(given, list) and len(given) >= error["ctx"]["min_length"]


def _document_path(root: type[BaseModel], data: Any, error: ErrorDetails) -> KeyPath:
    """Return the part of pydantic's location that names keys: tags of unions stand in it too and are dropped."""
    path: KeyPath = ()
    place = data
    location = error["loc"]
    for depth, part in enumerate(location):
        is_item = isinstance(place, list) and isinstance(part, int) and part < len(place)
        is_key = isinstance(place, dict) and part in place
        if is_item or is_key:
            path = (*path, part)
            place = place[part]
        elif error["type"] == "missing" and depth == len(location) - 1:
            path = (*path, part)
    if error["type"] in ("union_tag_invalid", "union_tag_not_found") and isinstance(error["input"], dict):
        registry = place_at(root, location).registry
        assert registry is not None, "only the parts of an axis are told apart by a tag"
        path = (*path, registry.tag)
    return path


def _describe(root: type[BaseModel], error: ErrorDetails) -> str:
    """Return the fault and the values that are allowed, in the words that the documentation uses."""
    kind = error["type"]
    context = error.get("ctx", {})
    given = error.get("input")
    if kind == "missing":
        return "is required"
    if kind == "union_tag_invalid":
        return _unknown_name(root, error)
    if kind == "union_tag_not_found":
        return _missing_name(root, error)
    if kind == "literal_error":
        allowed = context["expected"].replace("'", "").replace(" or ", ", ")
        hint = suggestion(str(given), allowed.split(", "))
        return f"must be {'one of ' if ', ' in allowed else ''}{allowed}; got {shortened(given)}{hint}"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"must be a mapping of keys to values; got {shortened(given)}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "extra_forbidden":
        return _unknown_key(root, error)
    if kind in ("missing_file", "unknown_entry"):
        return error["msg"]
    if kind == "string_type":
        return f"must be text; got {shortened(given)}{': put it in quotes' if isinstance(given, int | float) else ''}"
    text = error["msg"]
    for theirs, ours in WORDING.items():
        text = text.replace(theirs, ours)
    return f"{text}; got {shortened(given)}"


def _unknown_name(root: type[BaseModel], error: ErrorDetails) -> str:
    """Return the message about a name that is none of an axis."""
    registry = place_at(root, error["loc"]).registry
    assert registry is not None, "only the parts of an axis are told apart by a tag"
    return registry.must_be_known(cut(str(error["ctx"]["tag"])))


def _missing_name(root: type[BaseModel], error: ErrorDetails) -> str:
    """Return the message about a block that does not name the part that it describes."""
    given = error["input"]
    registry = place_at(root, error["loc"]).registry
    if not isinstance(given, dict):
        text = f"must be a mapping of keys to values; got {shortened(given)}"
        if registry is None or not isinstance(given, str):
            return text
        name = given if given in registry.names() else registry.default or registry.names()[0]
        return f"{text}; for example {{{registry.tag}: {name}}}"
    if registry and registry.tag in given:
        return f"must be text; got {shortened(given[registry.tag])}"
    return "is required"


def _unknown_key(root: type[BaseModel], error: ErrorDetails) -> str:
    """Return the message about a key that the block has not, and the parts of the axis that have it."""
    *block, key = error["loc"]
    place = place_at(root, tuple(block))
    owners = place.registry.owners(str(key)) if place.registry else []
    if place.registry and place.name is not None and owners:
        return f"{cut(str(key))} belongs to {listed(owners)}; this {place.registry.chooser} is {place.name}"
    return f"unknown key{suggestion(str(key), place.keys)}; known keys: {', '.join(place.keys)}"
