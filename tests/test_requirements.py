"""The traceability table of the requirements: every item has a row, and everything that a row names exists."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT = Path(__file__).resolve().parent.parent
ITEMS: Final = {"000": 27, "001": 34, "002": 26, "003": 53, "004": 62}
"""Items of each of the five documents; they are numbered from 1."""
ROW = re.compile(r"^\| (?P<id>\d{3}-\d+) \| (?P<what>.+?) \| (?P<shown>.+) \|$", re.MULTILINE)
NAMED = re.compile(
    r"`((?:tests|docs|conf|cluster_sim|scripts|actors)/[^`]+|Makefile|Dockerfile|README\.md|CONTRIBUTING\.md(?:#[^`]+)?|[a-z]+\.(?:toml|txt))`"
)
MARKS = ("**Decision**", "**Later**", "**Missing**")


def rows() -> list[tuple[str, str]]:
    """Return (id, what shows it) of every row of the page."""
    page = (ROOT / "docs" / "requirements.md").read_text(encoding="utf-8")
    return [(match["id"], match["shown"]) for match in ROW.finditer(page)]


@cache
def functions(path: Path) -> frozenset[str]:
    """Return the names of a module's functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@cache
def anchors(path: Path) -> frozenset[str]:
    """Return the anchors that a page's headings get."""
    text = path.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return frozenset(re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings)


def named() -> Iterator[tuple[str, str]]:
    """Yield (id, reference) of everything the rows name."""
    for item, shown in rows():
        for reference in NAMED.findall(shown):
            yield item, reference


def test_every_item_has_one_row() -> None:
    """The rows are the items of the five documents, each once and in order."""
    expected = [f"{document}-{number}" for document, count in ITEMS.items() for number in range(1, count + 1)]
    assert [item for item, _ in rows()] == expected


def test_every_row_shows_or_says_why_not() -> None:
    """A row names something, or is marked as decided otherwise, later or missing."""
    silent = [item for item, shown in rows() if not NAMED.search(shown) and not any(mark in shown for mark in MARKS)]
    assert not silent


@pytest.mark.parametrize("document", ITEMS)
def test_what_is_named_exists(document: str) -> None:
    """Named tests are functions of their files, named sections are headings of their pages, named files are there."""
    missing = []
    for item, reference in named():
        if not item.startswith(document):
            continue
        name, is_test, test = reference.partition("::")
        name, is_section, section = name.partition("#")
        path = ROOT / name
        is_there = path.is_file()
        if is_there and is_test:
            is_there = test in functions(path)
        if is_there and is_section:
            is_there = section in anchors(path)
        if not is_there:
            missing.append((item, reference))
    assert not missing


def test_tests_are_named_in_full() -> None:
    """A reference to a test file says which test."""
    assert not [(item, name) for item, name in named() if name.startswith("tests/") and "::" not in name]
