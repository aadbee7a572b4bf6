"""Advice to whoever cannot go on with a run that was broken off."""

from pathlib import Path


def begin_anew(folder: Path) -> str:
    """Return how the run whose partial directory is ``folder`` is begun again."""
    return f"to begin the run again, remove {folder} and leave out --resume"
