"""Suggestion of a known word where an unknown one was given."""

import difflib


def suggestion(word: str, known: list[str]) -> str:
    """Return ``"; did you mean 'x'?"`` where ``known`` has something like ``word``, else an empty string."""
    close = difflib.get_close_matches(word, known, n=1) or [name for name in known if word in name.split("_")]
    return f"; did you mean {close[0]!r}?" if close else ""
