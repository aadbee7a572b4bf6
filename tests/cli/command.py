"""Type of the fixture that runs the command."""

from collections.abc import Callable

Command = Callable[..., tuple[int, str, str]]
"""Takes arguments; returns exit code, output and errors."""
