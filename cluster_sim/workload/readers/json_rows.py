"""Rows of JSON: objects of lines or lists, their numbers and texts, each fault with its place in the file."""

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cluster_sim.errors import InputError
from cluster_sim.suggestion import suggestion
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.files.file_access import shown, shown_names

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_YEAR: Final = 1680
_LAST_YEAR: Final = 2260
_INDEX: Final = re.compile(r"\[\d+\]")
_FRACTION: Final = re.compile(r"[.,](\d+)")


class Place:
    """Place of a value in the file, for messages."""

    def __init__(self, path: Path, noun: str = "line", document: str | None = None) -> None:
        """Name the file; ``document`` is its text where the whole file is one object."""
        self.path = path
        self.noun = noun
        self.line = 0
        self._document = document

    def here(self) -> str:
        """Return the file and the line (or the item of a list)."""
        return f"{self.path}: {self.noun} {self.line}" if self._document is None else str(self.path)

    def fixed(self) -> "Place":
        """Return this place, which does not move on."""
        copy = Place(self.path, self.noun, self._document)
        copy.line = self.line
        return copy

    def must_be_new(self, row: Mapping[str, Any], field: str, seen: set[str]) -> None:
        """Raise InputError where a name that may stand in the file once is there again; ``seen`` keeps the names."""
        name = row.get(field)
        if isinstance(name, str):
            if name in seen:
                raise self.error(f"'{shown(name)}' is there twice", field)
            seen.add(name)

    def missing(self, row: Mapping[str, Any], field: str) -> InputError:
        """Return the error about a field that a row lacks: with what it has, and the nearest."""
        has = f"; there are: {shown_names(row)}{suggestion(field, list(row))}" if row else ""
        return self.error(f"is missing{has}", field, near=next(iter(row), None))

    def error(self, text: str, field: str | None = None, near: str | None = None) -> InputError:
        """Return the error that names file, line and field; in a document the line of the field, or of one near it."""
        here, separator = self.here(), ","
        if self._document is not None:
            places = (self._place_of(_INDEX.sub("", name)) for name in (field, near) if name)
            place = next((place for place in places if place >= 0), -1)
            here += f": line {self._document.count(chr(10), 0, place) + 1}" if place >= 0 else ""
            separator = "," if place >= 0 else ":"
        where = f"{separator} field '{field}'" if field else ""
        return InputError(f"{here}{where}: {text}")

    def _place_of(self, field: str) -> int:
        """Return where a field's key, or the last part of it, stands first in the document; -1 where it does not."""
        keys = (f'"{key}"' for key in (field, field.rpartition(".")[2]))
        return next((place for key in keys if (place := (self._document or "").find(key)) >= 0), -1)


def part_object(place: Place, row: dict[str, Any], field: str) -> dict[str, Any]:
    """Return an object of a row; InputError where it is missing or something else."""
    if field not in row:
        raise place.missing(row, field)
    return item_object(place, row[field], field)


def parse_object(place: Place, line: bytes) -> dict[str, Any]:
    """Return the line's JSON object; InputError for anything else."""
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        text = shown(line[:256].decode("utf-8", "replace"))
        if error.msg.startswith("Extra data"):
            raise place.error(f"more than one JSON object on the line: '{text}'") from None
        raise place.error(f"not a JSON object: '{text}'") from None
    except (ValueError, RecursionError):
        text = line[:256].decode("utf-8", "replace")
        raise place.error(f"not a JSON object: '{shown(text)}'") from None
    if not isinstance(value, dict):
        raise place.error(f"a JSON {kind_of_value(value)} where an object is expected")
    return value


def kind_of_value(value: Any) -> str:
    """Return the name that JSON has for the kind of a value."""
    if isinstance(value, bool):
        return "truth value"
    return {dict: "object", list: "list", str: "text", int: "number", float: "number"}.get(type(value), "null")


def number(place: Place, row: dict[str, Any], field: str, least: float, most: float, *, whole: bool) -> float:
    """Return a number of a row; InputError where it is missing, no number, or out of bounds."""
    if field not in row:
        raise place.missing(row, field)
    value = row[field]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise place.error(f"'{shown(value)}' is not a number", field)
    if isinstance(value, float) and not math.isfinite(value):
        raise place.error(f"{value} is not a finite number", field)
    if not least <= value <= most:
        raise place.error(f"{shown(value)} is not between {least:g} and {most:g}", field)
    if whole and value != int(value):
        raise place.error(f"{value} is not a whole number of tokens", field)
    return value


def instant_ns(place: Place, text: str, field: str) -> int:
    """Return a date and time of ISO 8601 as ns since 1970; one without a zone is taken as UTC."""
    match = _FRACTION.search(text)
    digits = match.group(1) if match else ""
    try:
        moment = datetime.fromisoformat(_FRACTION.sub("", text, count=1).strip())
    except ValueError:
        raise place.error(f"'{shown(text)}' is neither a number nor a time like 2026-01-31T12:00:00Z", field) from None
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise place.error(f"'{shown(text)}' is outside the years {_FIRST_YEAR} to {_LAST_YEAR}", field)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * NS_PER_S + int(digits[:9].ljust(9, "0") or 0)


def item_list(place: Place, row: dict[str, Any], field: str) -> list[Any]:
    """Return a list of a row; InputError where it is missing or something else."""
    if field not in row:
        raise place.missing(row, field)
    value = row[field]
    if not isinstance(value, list):
        raise place.error(f"a {kind_of_value(value)} where a list is expected", field)
    return value


def item_object(place: Place, value: Any, field: str | None = None) -> dict[str, Any]:
    """Return a value that must be an object."""
    if not isinstance(value, dict):
        raise place.error(f"a {kind_of_value(value)} where an object is expected", field)
    return value
