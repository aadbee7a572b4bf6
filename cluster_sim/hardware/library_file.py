"""Reading the files of the library: YAML or JSON mappings, checked against their schema."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from cluster_sim.document import Document
from cluster_sim.errors import InputError
from cluster_sim.plain_file import read_text
from cluster_sim.validation_messages import message_of

ModelT = TypeVar("ModelT", bound=BaseModel)

_KEPT: Final = 64
"""Files whose data is kept: what a plan of a few pools reads, several times each."""


def load_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML or JSON mapping; InputError with file and line when it is not one or repeats a key."""
    data: dict[str, Any] = json.loads(_read(read_text(path), str(path)))
    return data


@lru_cache(maxsize=_KEPT)
def _read(text: str, source: str) -> str:
    """Return the data of a file as JSON, which is read anew thirty times as fast as YAML."""
    return json.dumps(Document.parse(text, source).data)


def validated(kind: type[ModelT], data: dict[str, Any], path: Path) -> ModelT:
    """Build ``kind`` from ``data``, which came from a file; InputError with file, line and key of every fault.

    As in a study, numbers must be written as numbers: no text, no truth values.
    """
    try:
        # Through JSON, because strict there means what a file needs: lists for tuples, but no text for numbers.
        return kind.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        # Read again only now: what ``data`` was made from knows the lines.
        document = Document(str(path), data, Document.read(path).places)
        raise InputError(message_of(kind, document, error.errors(include_url=False))) from None
