"""Reading YAML: places, scalars, refusals."""

from pathlib import Path

import pytest

from cluster_sim.document import MAX_NODES, Document, parse_value
from cluster_sim.errors import InputError


def test_places_name_file_and_line() -> None:
    """Every key and list item knows its line; an unknown path falls back to its deepest known part."""
    document = Document.parse("a: 1\nb:\n  - c: 2\n    d: 3\n", "f.yaml")
    assert document.data == {"a": 1, "b": [{"c": 2, "d": 3}]}
    assert document.where(("a",)) == "f.yaml:1"
    assert document.where(("b", 0, "d")) == "f.yaml:4"
    assert document.where(("b", 0, "missing")) == "f.yaml:3"
    assert document.where(("nowhere",)) == "f.yaml"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e3", 1000.0),
        ("2.5E-2", 0.025),
        (".5", 0.5),
        ("1_000", 1000),
        ("yes", "yes"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("010", "010"),
        ("true", True),
        ("~", None),
        ("", None),
        ("[1, a]", [1, "a"]),
        ("{x: 1}", {"x": 1}),
    ],
)
def test_scalars(text: str, value: object) -> None:
    """Numbers are numbers, and words that YAML 1.1 turns into something else stay words."""
    parsed = parse_value(text, "--set")
    assert parsed == value
    assert type(parsed) is type(value)


def test_merge_keys() -> None:
    """A merge key brings the anchored block in and is overridden by what stands beside it."""
    document = Document.parse("base: &b {x: 1, y: 2}\nother:\n  <<: *b\n  y: 3\n", "f.yaml")
    assert document.data["other"] == {"x": 1, "y": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3: key 'a' stands here a second time (first on line 1)"),
        ("x:\n  a: 1\n  a: 1\n", "f.yaml:3: key 'x.a' stands here a second time"),
        ("a: [1\nb: 2\n", "f.yaml:2: not valid YAML"),
        ("a:\n\tb: 1\n", "f.yaml:2: not valid YAML"),
        ("", "f.yaml: is empty"),
        ("# nothing\n", "f.yaml: is empty"),
        ("- 1\n", "f.yaml:1: must be a mapping of keys to values, found a list"),
        ("hello\n", "f.yaml:1: must be a mapping of keys to values, found the single value 'hello'"),
        ("? [a]\n: 1\n", "f.yaml:1: a key must be plain text"),
        ("a: &a [*a]\n", "f.yaml:1: an alias makes this value contain itself"),
        ("a: !!python/object:os.system x\n", "f.yaml:1: the tag !!python/object:os.system is not allowed"),
        ("a: !!binary aGk=\n", "f.yaml:1: the tag !!binary is not allowed: write plain values"),
        ("a: !!set {x, y}\n", "f.yaml:1: the tag !!set is not allowed"),
        ("a: !!bool maybe\n", "f.yaml:1: "),
        ("b: 1\na: {<<: *a}\n", "f.yaml:2: not valid YAML"),
        ('a: "x\\x1b[31m"\n', "f.yaml:1: holds the control character '\\x1b', which no value needs"),
        ('a: "\\ud800"\n', "f.yaml:1: "),
        ("a: \x00\n", "f.yaml: not valid YAML: "),
        (f"a: {'[' * 101}{']' * 101}\n", "f.yaml:1: is nested deeper than 100 levels"),
        (f"a: {'[' * 100_000}\n", "f.yaml:1: "),
        (f"a:\n{'- ' * 20_000}\n", "f.yaml:2: is nested deeper than 100 levels"),
        (f"a: {'9' * 5000}\n", "f.yaml:1: Exceeds the limit"),
        (f"a: 1\n{'k' * 500}: 1\n{'k' * 500}: 2\n", f"f.yaml:3: key '{'k' * 79}... (502 characters) stands"),
        ("--- \na: 1\n---\na: 2\n", "f.yaml:3: not valid YAML"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    """What is no plain mapping is refused with file and line."""
    with pytest.raises(InputError) as caught:
        Document.parse(text, "f.yaml")
    assert message in str(caught.value)


def test_aliases_cannot_explode() -> None:
    """Aliases of aliases stop at a limit instead of filling the memory."""
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert MAX_NODES < 10**9
    with pytest.raises(InputError, match="without end"):
        Document.parse("\n".join(levels), "f.yaml")


def test_unreadable_files(tmp_path: Path) -> None:
    """A file that is missing, a folder or not text is named with the reason."""
    with pytest.raises(InputError, match=r"none\.yaml: no such file"):
        Document.read(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="is a folder, not a file"):
        Document.read(tmp_path)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"name: \xff\xfe")
    with pytest.raises(InputError, match="not a UTF-8 text file"):
        Document.read(binary)
