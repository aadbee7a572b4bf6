"""Parts of a YAML document whose values are asked for by kind; errors name file, line and key."""

from collections.abc import Iterable, Iterator
from typing import Any

from cluster_sim.deployment.findings import Findings
from cluster_sim.deployment.server import Argument, Stated
from cluster_sim.document import Document, KeyPath, dotted
from cluster_sim.errors import InputError
from cluster_sim.suggestion import suggestion


class Part:
    """A mapping of a document."""

    def __init__(self, document: Document, path: KeyPath = ()) -> None:
        self._document = document
        self.path = path
        value: Any = document.data
        for step in path:
            value = value[step]
        self.value: dict[str, Any] = value

    @property
    def place(self) -> str:
        """File and line where the part begins."""
        if not self.path and self.value:
            return self._document.where((next(iter(self.value)),))
        return self._document.where(self.path)

    def place_of(self, key: str | int) -> str:
        """Return file and line of a key."""
        return self._document.where((*self.path, key))

    def key(self, *keys: str | int) -> str:
        """Return a key as messages name it, from the root of its document."""
        return dotted((*self.path, *keys))

    def mapping(self, *keys: str) -> "Part | None":
        """Return the mapping at nested keys; None if one of them is absent or empty."""
        part = self
        for key in keys:
            value = part.value.get(key)
            if value is None:
                return None
            if not isinstance(value, dict):
                raise part.wrong(key, "a mapping of keys to values")
            part = Part(self._document, (*part.path, key))
        return part

    def parts(self, key: str) -> list["Part"]:
        """Return the mappings of a list; none if it is absent."""
        values = self._list(key)
        for index, value in enumerate(values):
            if not isinstance(value, dict):
                raise InputError(
                    f"{self._document.where((*self.path, key, index))}: {self.key(key, index)}: must be a mapping of "
                    f"keys to values; got {value!r}"
                )
        return [Part(self._document, (*self.path, key, index)) for index in range(len(values))]

    def texts(self, key: str) -> list[Stated]:
        """Return the scalars of a list as text; none if it is absent."""
        found = []
        for index, value in enumerate(self._list(key)):
            place = self._document.where((*self.path, key, index))
            if isinstance(value, dict | list):
                raise InputError(f"{place}: {self.key(key, index)}: must be text; got {value!r}")
            found.append(Stated(_text(value), place))
        return found

    def text(self, key: str) -> Stated | None:
        """Return a scalar as text; None if it is absent."""
        value = self.value.get(key)
        if value is None:
            return None
        if isinstance(value, dict | list):
            raise self.wrong(key, "text")
        return Stated(_text(value), self.place_of(key))

    def count(self, key: str) -> int | None:
        """Return a whole number of at least 0; None if it is absent."""
        value = self.value.get(key)
        if isinstance(value, str) and value.isdigit():
            value = int(value)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self.wrong(key, "a whole number of at least 0")
        return value

    def is_on(self, key: str) -> bool | None:
        """Return a truth value; None if it is absent."""
        value = self.value.get(key)
        if value is None or isinstance(value, bool):
            return value
        raise self.wrong(key, "true or false")

    def argument(self, key: str, flag: str) -> Argument | None:
        """Return a scalar as an argument of vLLM; None if it is absent."""
        found = self.text(key)
        return None if found is None else Argument(flag, found.text, found.place, self.key(key))

    def pairs(self, *keys: str) -> Iterator[tuple[str, Stated]]:
        """Yield the keys of a nested mapping with their scalars."""
        part = self.mapping(*keys)
        for key in part.value if part is not None else ():
            assert part is not None
            found = part.text(key)
            if found is not None:
                yield key, found

    def judge_keys(self, known: Iterable[str], findings: Findings) -> None:
        """Note keys that are not ``known``, with the nearest that is."""
        names = sorted(known)
        for key in self.value:
            if key not in names:
                findings.wonder(self.place_of(key), self.key(key), f"unknown key{suggestion(key, names)}")

    def ignore(self, keys: Iterable[str], findings: Findings) -> None:
        """Note keys without effect that are there."""
        for key in self.value:
            if key in keys:
                findings.ignore(self.place_of(key), self.key(key))

    def wrong(self, key: str, right: str) -> InputError:
        """Return the error about a key that is not ``right``."""
        return InputError(f"{self.place_of(key)}: {self.key(key)}: must be {right}; got {self.value[key]!r}")

    def missing(self, key: str, right: str) -> InputError:
        """Return the error about a key that is needed."""
        return InputError(f"{self.place}: {self.key(key)}: is missing; it must be {right}")

    def _list(self, key: str) -> list[Any]:
        value = self.value.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.wrong(key, "a list")
        return value


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
