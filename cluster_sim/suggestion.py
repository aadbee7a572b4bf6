"""Suggestion of a known word where an unknown one was given."""

import difflib
from typing import Final

MOST: Final = 3
"""Names that are suggested at once."""


LONGEST: Final = 100
"""Characters of a word that may be meant for another; comparing longer ones takes time without end."""


def suggestion(word: str, known: list[str]) -> str:
    """Return ``"; did you mean 'x'?"`` where ``known`` has something like ``word``, else an empty string.

    The names of which ``word`` is the first part, as ``h100`` is of ``h100-sxm``, go before those that look like it.
    """
    if len(word) > LONGEST:
        return ""
    plain = _plain(word)
    close = [name for name in known if _plain(name) == plain and name != word][:1] if word else []
    variants = sorted(name for name in known if name.lower().startswith(f"{word.lower()}-")) if word else []
    close = close or variants[:MOST] or difflib.get_close_matches(word, known, n=1)
    close = close or [name for name in known if word in name.split("_")][:1]
    close = close or [name for name in known for near in difflib.get_close_matches(plain, [_plain(name)])][:1]
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""


def _plain(word: str) -> str:
    """Return a word without what is often written in another way: capitals, and hyphens for underscores."""
    return word.lower().replace("-", "_")
