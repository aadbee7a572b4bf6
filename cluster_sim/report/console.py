"""Console of the command line: as wide as the terminal, or as wide as needed."""

from typing import Final

from rich.console import Console

PIPE_WIDTH: Final = 100_000
"""Width of a console that is no terminal: nothing is shortened in a pipe."""


def make_console() -> Console:
    """Return a console as wide as the terminal, or, into a pipe or file, as wide as its text."""
    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)
