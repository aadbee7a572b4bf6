"""Table of several configurations: the keys that vary, then figures, one row a configuration."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cluster_sim.report.console import print_whole, table_width
from cluster_sim.report.result_tables import verdict_style

Row = Mapping[str, Any]


class Figure(NamedTuple):
    """A column of figures."""

    title: str
    text: Callable[[Row], str | Text]
    is_number: bool = True


def print_configurations(
    console: Console, rows: Sequence[Row], keys: Sequence[str], figures: Sequence[Figure], elsewhere: str
) -> None:
    """Print a table; what does not fit the console's width is left out from the right and named with ``elsewhere``.

    Figures are never shortened; the values of ``keys`` fold.  A key is called by the shortest end that tells it apart.
    """
    shown = list(figures)
    while len(shown) > 1 and table_width(console, _table(rows, keys, shown)) > console.width:
        shown.pop()
    print_whole(console, _table(rows, keys, shown))
    missing = [figure.title for figure in figures[len(shown) :]]
    if missing:
        console.print(f"Not shown here: {', '.join(missing)}; see {elsewhere}", soft_wrap=True, highlight=False)


def short_names(keys: Sequence[str]) -> list[str]:
    """Return the shortest ends of dotted keys that differ from each other."""
    names = []
    for key in keys:
        parts = key.split(".")
        for length in range(1, len(parts) + 1):
            name = ".".join(parts[-length:])
            if sum(f".{other}".endswith(f".{name}") for other in keys) == 1:
                break
        names.append(name)
    return names


def verdict_text(verdict: str | None) -> Text:
    """Return the verdict on the objectives; a dash for a study without any."""
    return Text("-") if verdict is None else Text(*verdict_style(verdict))


def _table(rows: Sequence[Row], keys: Sequence[str], figures: Sequence[Figure]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in short_names(keys):
        table.add_column(name, overflow="fold")
    for figure in figures:
        table.add_column(figure.title, justify="right" if figure.is_number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(str(row[key]) for key in keys), *(figure.text(row) for figure in figures))
    return table
