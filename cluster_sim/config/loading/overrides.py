"""``--set a.b=v``: changes to a study before it is checked."""

from collections.abc import Iterable
from typing import Any, Final

from cluster_sim.document import Document, KeyPath, dotted, parse_value
from cluster_sim.errors import InputError
from cluster_sim.shown_values import cut, shortened

MOST_OF_OVERRIDE: Final = 200
"""Characters of an override that a message shows."""

POOLS: Final[KeyPath] = ("fleet", "pools")
DEFAULT_POOL_NAME: Final = "main"
"""Name of a pool that is given none, as the schema has it."""


def apply_overrides(document: Document, overrides: Iterable[str]) -> None:
    """Apply ``key=value`` texts in order, changing ``document`` in place.

    The key is a dotted path with list items by index, or by name where they have names; the value is YAML.  Raises
    ``InputError`` where a text has no ``=``, or the path leads through something that is neither a mapping nor an
    existing list item.
    """
    for override in overrides:
        key, separator, text = override.partition("=")
        source = f"--set {cut(override, MOST_OF_OVERRIDE)}"
        if not separator or not key.strip():
            raise InputError(f"{source}: must look like key.path=value, for example fleet.pools.0.replicas=8")
        set_value(document, key.strip(), parse_value(text, source), source)


def key_values(texts: Iterable[str], option: str) -> dict[str, Any]:
    """Return what texts ``key=value`` say, by key; ``option`` names them in messages.

    Raises InputError for a text of another form, and for a key that is given twice.
    """
    values: dict[str, Any] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        source = f"{option} {cut(text, MOST_OF_OVERRIDE)}"
        if not separator or not key.strip():
            raise InputError(f"{source}: must look like key.path=value, for example router.policy=random")
        if key.strip() in values:
            raise InputError(f"{source}: {key.strip()} is given twice; give it once")
        values[key.strip()] = parse_value(value, source)
    return values


def set_value(document: Document, key: str, value: Any, source: str) -> None:
    """Set one dotted key; ``source`` names the change in messages."""
    path = tuple(key.split("."))
    if not all(path):
        raise InputError(f"{source}: {shortened(key)} has an empty part; parts are separated by one dot")
    place: Any = document.data
    walked: KeyPath = ()
    for depth, part in enumerate(path):
        is_last = depth == len(path) - 1
        if isinstance(place, list):
            index = _index(part, place, walked, source)
            walked = (*walked, index)
            if is_last:
                place[index] = value
            else:
                place = place[index]
        elif isinstance(place, dict):
            walked = (*walked, part)
            if is_last:
                place[part] = value
            else:
                if place.get(part) is None:
                    place[part] = {}
                place = place[part]
        else:
            raise InputError(
                f"{source}: {dotted(walked)} is the single value {shortened(place)}, it has no parts to set"
            )
    for known in [known for known in document.places if known[: len(walked)] == walked]:
        del document.places[known]
    document.places[walked] = source


def indexed_key(data: Any, key: str) -> str:
    """Return a dotted key with the names of list items as their indices; what leads nowhere stays as it is."""
    place = data
    walked: KeyPath = ()
    for part in key.split("."):
        step: str | int = part
        if isinstance(place, list):
            found = _found_index(part, place, walked)
            if found is None:
                return key
            step, place = found, place[found]
        else:
            place = place.get(part) if isinstance(place, dict) else None
        walked = (*walked, step)
    return ".".join(map(str, walked))


def _index(part: str, items: list[Any], walked: KeyPath, source: str) -> int:
    found = _found_index(part, items, walked)
    if found is not None:
        return found
    allowed = f"0 to {len(items) - 1}" if items else "none, it is empty"
    names = [name for item in items if (name := _name_of(item, walked))]
    by_name = f" or by its name ({cut(', '.join(names), MOST_OF_OVERRIDE)})" if names else ""
    raise InputError(
        f"{source}: {dotted(walked)} is a list: name an item by its index ({allowed}){by_name}, not {shortened(part)}"
    )


def _found_index(part: str, items: list[Any], walked: KeyPath) -> int | None:
    """Return the place of an item that is named by its index, or by a name that no other item has."""
    if part.isdecimal() and int(part) < len(items):
        return int(part)
    names = [_name_of(item, walked) for item in items]
    return names.index(part) if names.count(part) == 1 else None


def _name_of(item: Any, walked: KeyPath) -> str | None:
    """Return the name of a list item; a pool without one has the schema's default."""
    if not isinstance(item, dict):
        return None
    name = item.get("name", DEFAULT_POOL_NAME if walked == POOLS else None)
    return name if isinstance(name, str) else None
