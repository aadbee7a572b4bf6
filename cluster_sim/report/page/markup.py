"""HTML as text: elements, and tables that screen readers can follow.  Whatever is not ``Markup`` is escaped."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final, NamedTuple

_VOID: Final = frozenset({"br", "img", "meta", "path"})
"""Elements that have no content."""


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Content = str | Iterable["Content"]
"""Text to escape, ``Markup``, or any of these in order."""


def markup(content: Content) -> Markup:
    """Return content as HTML."""
    if isinstance(content, Markup):
        return content
    if isinstance(content, str):
        return Markup(escape(content))
    return Markup("".join(markup(part) for part in content))


def element(name: str, /, *content: Content, **attributes: str | None) -> Markup:
    """Return an element.

    Of the names of attributes a trailing underscore is dropped, and others are hyphens; None leaves an attribute out.
    """
    words = [name]
    for key, value in attributes.items():
        if value is not None:
            words.append(f'{key.rstrip("_").replace("_", "-")}="{escape(value)}"')
    start = " ".join(words)
    return Markup(f"<{start}/>" if name in _VOID else f"<{start}>{markup(content)}</{name}>")


class Column(NamedTuple):
    """A column of a table."""

    title: str
    is_number: bool = True
    """Whether its cells are numbers, which stand at the right."""


def table(
    caption: str,
    columns: Sequence[Column],
    rows: Iterable[Sequence[Content]],
    *,
    kind: str = "",
    is_sortable: bool = False,
) -> Markup:
    """Return a table whose first column heads the rows.

    On a narrow screen a table of the kind "cards" shows each row as a list of titles and values.  Columns of a sortable
    table sort the rows by the cells' ``data-value``, or by their text.
    """
    head = []
    for column in columns:
        title: Content = column.title
        if is_sortable:
            title = element("button", column.title, type="button")
        head.append(
            element("th", title, scope="col", role="columnheader", class_="number" if column.is_number else None)
        )
    lines = (
        [element("thead", element("tr", *head, role="row"), role="rowgroup")] if any(c.title for c in columns) else []
    )
    body = []
    for row in rows:
        cells = []
        for number, (column, cell) in enumerate(zip(columns, row, strict=True)):
            style = {"class_": "number" if column.is_number else None, "data_title": column.title or None}
            if number:
                cells.append(element("td", cell, role="cell", **style))
            else:
                cells.append(element("th", cell, scope="row", role="rowheader", **style))
        body.append(element("tr", *cells, role="row"))
    lines.append(element("tbody", *body, role="rowgroup"))
    classes = " ".join(word for word in (kind, "sortable" if is_sortable else "") if word)
    whole = element("table", element("caption", caption), *lines, role="table", class_=classes or None)
    return element("div", whole, class_="scroll", role="region", aria_label=caption, tabindex="0")


def section(title: str, *content: Content, text: str = "", kind: str = "") -> Markup:
    """Return a titled section of a page."""
    about = element("p", text, class_="about") if text else Markup("")
    return element("section", element("h2", title), about, *content, class_=kind or None)


def beside(*content: Content) -> Markup:
    """Return contents that stand beside each other where the screen is wide enough."""
    return element("div", *content, class_="beside")


SORT_NOTE: Final = element("p", "Press a title to sort.", class_="about wide")
"""Stands above tables that can be sorted; phones show them without titles."""
