"""From a study file to a checked ``Study``, with messages that say file, line, key and what is allowed."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cluster_sim.config.loading.document import Document, KeyPath, dotted
from cluster_sim.config.loading.overrides import apply_overrides
from cluster_sim.config.loading.schema_inspection import known_keys
from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.options import BASE_DIRECTORY, suggestion

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
"""The validator's wording and ours."""


Names = Mapping[str, Sequence[str]]
"""Registered names by registry, for example ``ROUTER_POLICIES``; a registry that is absent is not checked."""

UNCHECKED: Final[Names] = {}


def load_study(path: Path, overrides: Iterable[str] = (), names: Names = UNCHECKED) -> Study:
    """Read, override and check a study file; raise ``InputError`` that lists what is wrong and where."""
    return check_study(read_document(path, overrides), path.resolve().parent, names)


def read_document(path: Path, overrides: Iterable[str] = ()) -> Document:
    """Read and override a study file without checking it."""
    document = Document.read(path)
    apply_overrides(document, overrides)
    return document


def check_study(document: Document, base_directory: Path, names: Names = UNCHECKED) -> Study:
    """Return the study that ``document`` describes; files in it are looked up from ``base_directory``."""
    context = {BASE_DIRECTORY: base_directory, **names}
    try:
        # Through JSON, because strict there means what a YAML file needs: no text for numbers, lists for tuples.
        return Study.model_validate_json(json.dumps(document.data), strict=True, context=context)
    except ValidationError as error:
        raise InputError(_message(document, error.errors(include_url=False))) from None


def _message(document: Document, errors: list[ErrorDetails]) -> str:
    """Return one line per faulty key; alternatives of a union that failed at the same key share a line."""
    problems: dict[tuple[str, str], list[str]] = {}
    for error in errors:
        if _is_consequence(error):
            continue
        path = _document_path(document.data, error)
        line = problems.setdefault((document.where(path), dotted(path)), [])
        text = _describe(error)
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


def _document_path(data: Any, error: ErrorDetails) -> KeyPath:
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
    if error["type"] in ("union_tag_invalid", "union_tag_not_found"):
        path = (*path, error["ctx"]["discriminator"].strip("'"))
    return path


def _describe(error: ErrorDetails) -> str:
    """Return what is wrong and what would be right, in the words that the documentation uses."""
    kind = error["type"]
    context = error.get("ctx", {})
    given = error.get("input")
    if kind == "missing":
        return "is required"
    if kind == "union_tag_invalid":
        allowed = context["expected_tags"].replace("'", "")
        hint = suggestion(str(context["tag"]), allowed.split(", "))
        return f"must be one of {allowed}; got {context['tag']!r}{hint}"
    if kind == "union_tag_not_found":
        return "is required"
    if kind == "literal_error":
        allowed = context["expected"].replace("'", "").replace(" or ", ", ")
        hint = suggestion(str(given), allowed.split(", "))
        return f"must be {'one of ' if ', ' in allowed else ''}{allowed}; got {given!r}{hint}"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"must be a mapping of keys to values; got {given!r}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "extra_forbidden":
        *block, key = error["loc"]
        known = known_keys(Study, tuple(block))
        return f"unknown key{suggestion(str(key), known)}; known keys: {', '.join(known)}"
    if kind in ("missing_file", "unknown_entry"):
        return error["msg"]
    if kind == "string_type":
        return f"must be text; got {given!r}{': put it in quotes' if isinstance(given, int | float) else ''}"
    text = error["msg"]
    for theirs, ours in WORDING.items():
        text = text.replace(theirs, ours)
    return f"{text}; got {given!r}"
