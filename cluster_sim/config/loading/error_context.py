"""Error context: the place in a study of the setting that an error is about.

What resolves a study - models, memory, engines - is given values, not the file.  The message of its ``InputError``
begins with the key, seen from the block that it was given (``engine.max_num_seqs: ...``, ``tensor_parallel 3 ...``).
``inside`` completes the key where the block is known, ``locating_errors`` adds file and line where the file is.
"""

import re
from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import Final

from cluster_sim.config.schema.study import Study
from cluster_sim.document import Document, KeyPath
from cluster_sim.errors import InputError

_KEY: Final = re.compile(r"(?P<key>[a-z_]+(?:\.[a-z0-9_]+)*)(?:: | )")


@contextmanager
def inside(block: str, keys: Container[str], default: str | None) -> Iterator[None]:
    """Let every ``InputError`` begin with its key seen from the root.

    ``block`` is the dotted path of the part of the study at work ("" for the root), ``keys`` are those that the part
    has, and ``default`` is the key that is meant where a message begins with none of them; None leaves such messages
    as they are.
    """
    try:
        yield
    except InputError as error:
        message = str(error)
        key = _KEY.match(message)
        if key is None or _root(key["key"]) not in keys:
            if default is None:
                raise
            raise InputError(f"{_joined(block, default)}: {message}") from error
        raise InputError(f"{_joined(block, key['key'])}: {message[key.end() :]}") from error


@contextmanager
def locating_errors(document: Document) -> Iterator[None]:
    """Put file and line (or the override) before every ``InputError`` that begins with a key of the study."""
    try:
        yield
    except InputError as error:
        message = str(error)
        key = _KEY.match(message)
        if key is None or not message[: key.end()].endswith(": ") or _root(key["key"]) not in Study.model_fields:
            raise
        raise InputError(f"{document.where(_path(key['key']))}: {message}") from error


def _joined(block: str, key: str) -> str:
    return ".".join(part for part in (block, key) if part)


def _root(key: str) -> str:
    return key.partition(".")[0]


def _path(key: str) -> KeyPath:
    return tuple(int(part) if part.isdecimal() else part for part in key.split("."))
