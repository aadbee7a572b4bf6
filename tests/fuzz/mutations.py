"""Seeded mutations of files: of their bytes, of their lines, and of the values of YAML and JSON documents."""

import copy
import json
from collections.abc import Callable
from random import Random
from typing import Any, Final

import yaml

EXTREMES: Final[tuple[Any, ...]] = (
    *(None, True, False, "", "x", " ", "\x1b[2J", "\ud800", "null", "nan", "x" * 100_000),
    *(0, -1, 1, 2, 1 << 31, (1 << 31) - 1, 1 << 63, -(1 << 63), 1 << 200, 10**30),
    *(0.5, -0.5, 1e-300, 1e300, 1e18, float("inf"), float("-inf"), float("nan")),
    *([], {}, [[]], [None], {"": None}, {"kind": "x"}, ["x"] * 1000, [[[[[[[[]]]]]]]]),
    *("../../../../etc/passwd", "/dev/zero", "/dev/stdin", "/proc/self/mem", "~nobody-here/x", "\x00", "a/b/c", "."),
)
"""Values that stand where others are expected."""

WORDS: Final[tuple[bytes, ...]] = (
    *(b"0", b"-1", b"1e999", b"-1e999", b"nan", b".nan", b".inf", b"inf", b"null", b"true", b"~", b'""', b"''"),
    *(b"9" * 25, b"9" * 5000, b"1e-320", b"0x10", b"0o7", b"1_000", b"1,5", b"2023-11-16 18:00:00", b"12:30:45.5"),
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b",",
        b"- ",
        b"#",
        b"\t",
        b"\n",
        b"\r",
        b"\r\n",
        b'"',
        b"'",
        b"|",
        b">",
        b"@",
    ),
    *(b"&a", b"*a", b"<<: *a", b"!!python/object:os.system x", b"!!binary AA==", b"!!int x", b"? [1]\n: 2", b"---\n"),
    *(b"\x00", b"\x1b[31m", b"\xff\xfe", b"\xef\xbb\xbf", b"\xc3", b"\xed\xa0\x80", b"\\u0000", b"\\ud800"),
    *(b"[" * 2000, b"{" * 2000, b"- " * 5000, b"x" * 200_000, b"\n" * 10_000, b" " * 5000),
)
"""Pieces that are put into bytes."""


def mutated(content: bytes, draw: Random, *, is_document: bool) -> bytes:
    """Return content with one to four changes; those of a document are mostly of its values."""
    for _ in range(draw.choice((1, 1, 1, 2, 3, 4))):
        if is_document and draw.random() < 0.7:
            content = mutated_document(content, draw)
        else:
            content = draw.choice(_OF_BYTES)(content, draw)
    return content


def mutated_document(content: bytes, draw: Random) -> bytes:
    """Return a YAML or JSON document with one value, key or item changed; bytes that are none stay as they are."""
    is_json = content.lstrip()[:1] in (b"{", b"[")
    try:
        data = json.loads(content) if is_json else yaml.safe_load(content)
    except (ValueError, yaml.YAMLError, RecursionError):
        return content
    places = list(_places(data))
    if not places:
        return content
    data = copy.deepcopy(data)
    holder, key = draw.choice(list(_places(data)))
    _change(holder, key, draw)
    text = json.dumps(data) if is_json else yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    return text.encode("utf-8", "surrogatepass")


def _places(data: Any) -> list[tuple[Any, Any]]:
    """Return (holder, key or index) of every value."""
    found: list[tuple[Any, Any]] = []
    open_ = [data]
    while open_:
        value = open_.pop()
        keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        for key in keys:
            found.append((value, key))
            open_.append(value[key])
    return found


def _change(holder: Any, key: Any, draw: Random) -> None:
    value = holder[key]
    how = draw.randrange(10)
    if how == 0:
        del holder[key]
    elif how == 1 and isinstance(holder, dict):
        holder[draw.choice(("x", "kind", "", "name", str(key) + "s", "k" * 5000))] = holder.pop(key)
    elif how == 2 and isinstance(holder, list):
        holder.extend([copy.deepcopy(value)] * draw.choice((1, 10)))
    elif how in (3, 4) and isinstance(value, int | float) and not isinstance(value, bool):
        numbers = (-value, value * 1000, value / 3, value * 1e12, value + 1, 0, value * 0.999, str(value))
        holder[key] = draw.choice(numbers)
    elif how == 5 and isinstance(value, str):
        holder[key] = draw.choice((value * 2, value[:-1], value.upper(), value + "/", f"/{value}", value * 10_000))
    else:
        holder[key] = copy.deepcopy(draw.choice(EXTREMES))


def _flip(content: bytes, draw: Random) -> bytes:
    changed = bytearray(content or b"x")
    for _ in range(draw.choice((1, 3, 20))):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def _cut(content: bytes, draw: Random) -> bytes:
    first, last = sorted(draw.randrange(len(content) + 1) for _ in range(2))
    return draw.choice((content[:first], content[first:], content[:first] + content[last:]))


def _repeat(content: bytes, draw: Random) -> bytes:
    first, last = sorted(draw.randrange(len(content) + 1) for _ in range(2))
    return content[:last] + content[first:last] * draw.choice((1, 2, 30)) + content[last:]


def _put(content: bytes, draw: Random) -> bytes:
    place = draw.randrange(len(content) + 1)
    return content[:place] + draw.choice(WORDS) + content[place:]


def _replace_word(content: bytes, draw: Random) -> bytes:
    """Replace one run of letters, digits, points and signs."""
    marks = [index for index, byte in enumerate(content) if not (chr(byte).isalnum() or byte in b"._-+")]
    if not marks:
        return draw.choice(WORDS)
    place = draw.randrange(len(marks))
    first = marks[place] + 1
    last = marks[place + 1] if place + 1 < len(marks) else len(content)
    return content[:first] + draw.choice(WORDS) + content[last:]


def _lines(content: bytes, draw: Random) -> bytes:
    """Remove, repeat, swap or empty lines."""
    lines = content.split(b"\n")
    first, second = draw.randrange(len(lines)), draw.randrange(len(lines))
    how = draw.randrange(4)
    if how == 0:
        del lines[first]
    elif how == 1:
        lines.insert(second, lines[first])
    elif how == 2:
        lines[first], lines[second] = lines[second], lines[first]
    else:
        lines[first] = b""
    return b"\n".join(lines)


_OF_BYTES: Final[tuple[Callable[[bytes, Random], bytes], ...]] = (
    *(_flip, _cut, _repeat, _put, _put, _replace_word, _replace_word, _lines),
)
