"""Console of the command line: as wide as the terminal, or as wide as needed."""

from typing import Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table

PIPE_WIDTH: Final = 100_000
"""Width of a console that is no terminal: nothing is shortened in a pipe."""


def make_console() -> Console:
    """Return a console as wide as the terminal, or, into a pipe or file, as wide as its text."""
    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)


def table_width(console: Console, table: Table) -> int:
    """Return the width of a table of which nothing is shortened."""
    return table.__rich_measure__(console, console.options.update(max_width=PIPE_WIDTH)).maximum


def print_whole(console: Console, table: Table) -> None:
    """Print a table without shortening a figure; the terminal breaks lines that are longer than it is wide."""
    console.print(_Whole(table), crop=False, highlight=False)


class _Whole:
    """A table that takes the width that it needs, whatever it is given."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(options.max_width, table_width(console, self._table))
        yield from console.render(self._table, options.update(width=width))
