"""Tables of the pages in ``docs/`` that are generated from the registries of parts."""

import json
import re
from typing import Any, Final

from cluster_sim.config.schema.axes import AXES
from cluster_sim.registry import Registry

_MARK: Final = re.compile(r"<!-- (?P<name>axes|parts of [a-z_.]+) -->\n.*?<!-- end -->", re.DOTALL)
_LONGEST_EXAMPLE: Final = 110
"""Longer examples would make a table hard to read."""


def with_tables(page: str) -> str:
    """Return a page with its generated tables made anew.

    A table stands between ``<!-- axes -->``, or ``<!-- parts of GROUP -->`` for the parts that are added through the
    entry points of that group, and ``<!-- end -->``.
    """
    return _MARK.sub(_table, page)


def _table(found: re.Match[str]) -> str:
    name = found["name"]
    if name == "axes":
        body = _axes_table()
    else:
        group = name.removeprefix("parts of ")
        body = parts_table(next(axis for axis in AXES if axis.group == group))
    return f"<!-- {name} -->\n{body}<!-- end -->"


def _axes_table() -> str:
    """Return one row for each axis: its folder, its entry points, its parts."""
    rows = ["| axis | folder | entry points | parts |", "|---|---|---|---|"]
    for axis in AXES:
        names = ", ".join(f"`{entry.name}`" for entry in _own_entries(axis))
        rows.append(f"| {axis.noun} | `{axis.folder}/` | `{axis.group}` | {names} |")
    return "".join(f"{row}\n" for row in rows)


def parts_table(axis: Registry[Any]) -> str:
    """Return one row for each part of an axis: its name, its summary, and its example, if that is short."""
    examples = {entry.name: _flow(entry.options.example) for entry in _own_entries(axis)}
    shown = {name: text for name, text in examples.items() if text and len(text) <= _LONGEST_EXAMPLE}
    has_examples = 2 * len(shown) > len(examples)
    rows = [
        f"| {axis.tag} | meaning |{' example |' if has_examples else ''}",
        f"|---|---|{'---|' if has_examples else ''}",
    ]
    for entry in _own_entries(axis):
        row = f"| `{entry.name}` | {entry.summary.replace('``', '`')} |"
        if has_examples:
            row += f" `{shown[entry.name]}` |" if entry.name in shown else " |"
        rows.append(row)
    return "".join(f"{row}\n" for row in rows)


def _own_entries(axis: Registry[Any]) -> list[Any]:
    """Return the entries of this project, so that pages do not depend on the packages that are installed."""
    return [entry for entry in axis.entries() if not entry.is_outside]


def _flow(value: Any) -> str:
    """Return plain data as YAML on one line; empty for no options at all."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(inner)}" for key, inner in value.items()) + "}" if value else ""
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return value if isinstance(value, str) else json.dumps(value)
