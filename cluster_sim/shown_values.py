"""Values of users as messages show them: of bounded length, on one line, without control characters."""

from pathlib import Path
from typing import Any, Final

MOST_SHOWN: Final = 80
"""Characters of a value that a message shows."""
MOST_OF_PATH: Final = 300
"""Characters of a path that a message shows."""

_WORDS: Final = {None: "null", True: "true", False: "false"}


def shortened(value: Any, most: int = MOST_SHOWN) -> str:
    """Return how a message shows a value that may be long, in the words of YAML and JSON."""
    shown = _WORDS[value] if value is None or isinstance(value, bool) else repr(value)
    return shown if len(shown) <= most else f"{shown[:most]}... ({len(shown)} characters)"


def cut(text: str, most: int = MOST_SHOWN) -> str:
    """Return plain text as a message shows it: keys, names and the messages of libraries."""
    line = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text[: most + 1])
    return line if len(text) <= most else f"{line[:most]}... ({len(text)} characters)"


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a number of things, ``1 run`` or ``1,200 runs``; ``plural`` of a noun that does not take an s."""
    return f"{count:,} {by_number(count, noun, plural or f'{noun}s')}"


def by_number(count: float, one: str, more: str) -> str:
    """Return the word that goes with a number of things: ``is`` with 1, ``are`` with any other."""
    return one if count == 1 else more


def shown_path(path: Path) -> str:
    """Return a path as a message shows it."""
    return cut(str(path), MOST_OF_PATH)
