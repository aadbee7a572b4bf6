"""YAML and JSON documents as plain data that remembers the line of each value."""

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from cluster_sim.errors import InputError
from cluster_sim.plain_file import read_text
from cluster_sim.shown_values import MOST_OF_PATH, cut, shortened

KeyPath = tuple[str | int, ...]
"""Where a value stands: keys of mappings and indices of lists from the root."""

MAX_DEPTH: Final = 100
"""Deeper nesting than any sensible document has; the reader of YAML calls itself for each level."""
MAX_NODES: Final = 100_000
"""More values than any sensible study has; stops nested aliases that would expand without end."""


_BASE: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's safe loader where PyYAML was built with it: several times as fast."""


class _Loader(_BASE):  # type: ignore[valid-type,misc]
    """YAML with the scalars of version 1.2: ``yes`` and ``12:30`` are text, ``1e3`` is a number, dates are text."""


FLOAT: Final = re.compile(
    r"^[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf)$|^\.nan$"
)
"""Text that is a floating-point number; the YAML library's own rule takes ``1e3`` for text."""

_SCALARS: Final = {
    "bool": re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"),
    "null": re.compile(r"^(?:~|null|Null|NULL|)$"),
    "int": re.compile(r"^[-+]?(?:0|[1-9][0-9_]*)$"),
    "float": FLOAT,
    "merge": re.compile(r"^<<$"),
}

_Loader.yaml_implicit_resolvers = {}
for _name, _pattern in _SCALARS.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", _pattern, None)


_PLAIN_TAGS: Final = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq", "merge")
)
_CONTROL: Final = re.compile("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x84\\x86-\\x9f\\ud800-\\udfff]")
"""Characters that no text of a document needs: they garble terminals, paths and files."""


def dotted(path: KeyPath) -> str:
    """Return a path the way ``--set`` takes it, for example ``fleet.pools.0.replicas``."""
    return ".".join(str(part) for part in path)


class Document:
    """A mapping read from YAML.

    ``data`` holds dictionaries, lists and scalars.  ``places`` tells for a path where its key (or list item) stands,
    as text for messages.
    """

    def __init__(self, source: str, data: dict[str, Any], places: dict[KeyPath, str]) -> None:
        self.source = source
        self.data = data
        self.places = places

    @classmethod
    def read(cls, path: Path) -> "Document":
        """Read a file; raise ``InputError`` with the line if it is not a YAML mapping or repeats a key."""
        return cls.parse(read_text(path), str(path))

    @classmethod
    def parse(cls, text: str, source: str) -> "Document":
        """Parse YAML text, or JSON if ``source``, which stands in messages for the file's name, ends in ``.json``."""
        reader = _Reader(source)
        data = reader.read_json(text) if source.endswith(".json") else reader.read(text)
        if data is None:
            raise InputError(f"{source}: is empty")
        if not isinstance(data, dict):
            raise InputError(f"{source}:1: must be a mapping of keys to values, found {_kind_of(data)}")
        return cls(source, data, reader.places)

    @classmethod
    def parse_all(cls, text: str, source: str) -> list["Document"]:
        """Parse YAML text of one or more documents, each a mapping; empty documents are left out."""
        found = []
        for data, places in _Reader(source).read_all(text):
            if not isinstance(data, dict):
                raise InputError(f"{source}: must be a mapping of keys to values, found {_kind_of(data)}")
            found.append(cls(source, data, places))
        return found

    def where(self, path: KeyPath) -> str:
        """Return the place of the deepest known part of ``path``: ``file:line``, or the override that set it."""
        for length in range(len(path), 0, -1):
            place = self.places.get(path[:length])
            if place is not None:
                return place
        return self.source


def parse_value(text: str, source: str) -> Any:
    """Parse one YAML value, for example the right side of ``--set``."""
    return _Reader(source, has_lines=False).read(text)


def _kind_of(value: Any) -> str:
    return "a list" if isinstance(value, list) else f"the single value {shortened(value)}"


class _Reader:
    """Reader of YAML nodes as data, with their places; it refuses some of what plain readers accept."""

    def __init__(self, source: str, *, has_lines: bool = True) -> None:
        self.source = source
        self._has_lines = has_lines
        self.places: dict[KeyPath, str] = {}
        self._nodes = 0
        self._open: list[yaml.Node] = []

    def read(self, text: str) -> Any:
        with self._wording_errors(text):
            return self._read_node(text)

    def read_all(self, text: str) -> list[tuple[Any, dict[KeyPath, str]]]:
        """Return the data and the places of each document that is not empty."""
        found = []
        with self._wording_errors(text):
            self._check_depth(text)
            loader = _Loader(text)
            try:
                while loader.check_node():
                    self.places = {}
                    node = loader.get_node()
                    data = None if node is None else self._value(loader, node, ())
                    if data is not None:
                        found.append((data, self.places))
            finally:
                loader.dispose()
        return found

    def _read_node(self, text: str) -> Any:
        self._check_depth(text)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            return None if node is None else self._value(loader, node, ())
        finally:
            loader.dispose()

    def _check_depth(self, text: str) -> None:
        """Refuse text that is nested too deeply, before anything calls itself for each level."""
        depth = 0
        for event in yaml.parse(text, Loader=_Loader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:
                    line = f":{event.start_mark.line + 1}" if self._has_lines and event.start_mark else ""
                    raise InputError(f"{self.source}{line}: is nested deeper than {MAX_DEPTH} levels")
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1

    @contextlib.contextmanager
    def _wording_errors(self, text: str) -> Iterator[None]:
        """Word the YAML library's errors, with the line."""
        try:
            yield
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            last = max(1, len(text.splitlines()))  # libyaml may name the line after it.
            line = f":{min(mark.line + 1, last)}" if mark and self._has_lines else ""
            raise InputError(f"{self.source}{line}: not valid YAML: {error.problem or error.context}") from None
        except yaml.YAMLError as error:
            raise InputError(
                f"{self.source}: not valid YAML: {cut(' '.join(str(error).split()), MOST_OF_PATH)}"
            ) from None

    def read_json(self, text: str) -> Any:
        """Return the data as JSON has them; the YAML reader finds the places, since JSON is YAML but for tabs.

        Text that only a JSON reader takes, such as half of a surrogate pair, leaves the places unknown.
        """
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"{self.source}:{error.lineno}: not valid JSON: {error.msg}") from None
        except (ValueError, RecursionError) as error:  # A number of thousands of digits; thousands of levels.
            raise InputError(f"{self.source}: not valid JSON: {cut(str(error), MOST_OF_PATH)}") from None
        with contextlib.suppress(yaml.YAMLError):
            self._check_depth(text.replace("\t", " "))
            self._read_node(text.replace("\t", " "))
        return data

    def _place(self, node: yaml.Node) -> str:
        return f"{self.source}:{node.start_mark.line + 1}" if self._has_lines else self.source

    def _value(self, loader: _Loader, node: yaml.Node, path: KeyPath) -> Any:
        self._nodes += 1
        if node in self._open or self._nodes > MAX_NODES:
            raise InputError(f"{self._place(node)}: an alias makes this value contain itself or grow without end")
        if node.tag not in _PLAIN_TAGS:
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")
            raise InputError(f"{self._place(node)}: the tag {cut(tag)} is not allowed: write plain values")
        self._open.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(loader, node, path)
            if isinstance(node, yaml.SequenceNode):
                items = []
                for index, item in enumerate(node.value):
                    self.places.setdefault((*path, index), self._place(item))
                    items.append(self._value(loader, item, (*path, index)))
                return items
            return self._scalar(loader, node)
        finally:
            self._open.pop()

    def _mapping(self, loader: _Loader, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        seen: dict[str, int] = {}
        for key_node, _ in node.value:
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode):
                raise InputError(f"{self._place(key_node)}: a key must be plain text")
            self._check_characters(key_node)
            if key in seen:
                name = shortened(dotted((*path, key)))
                place, first = self._place(key_node), seen[key]
                raise InputError(f"{place}: key {name} stands here a second time (first on line {first}): keep one")
            seen[key] = key_node.start_mark.line + 1
        loader.flatten_mapping(node)
        mapping = {}
        for key_node, value_node in node.value:
            inner = (*path, str(key_node.value))
            self.places[inner] = self._place(key_node)
            mapping[str(key_node.value)] = self._value(loader, value_node, inner)
        return mapping

    def _scalar(self, loader: _Loader, node: yaml.Node) -> Any:
        self._check_characters(node)
        try:
            return loader.construct_object(node)
        except (ValueError, KeyError) as error:
            raise InputError(f"{self._place(node)}: {cut(str(error), MOST_OF_PATH)}") from None

    def _check_characters(self, node: yaml.Node) -> None:
        found = _CONTROL.search(node.value)
        if found is not None:
            raise InputError(f"{self._place(node)}: holds the control character {found[0]!r}, which no value needs")
