"""Reading the files of the library: YAML or JSON mappings, checked against their schema."""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from cluster_sim.document import Document
from cluster_sim.errors import InputError
from cluster_sim.validation_messages import message_of

ModelT = TypeVar("ModelT", bound=BaseModel)


def load_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML or JSON mapping; InputError with file and line when it is not one or repeats a key."""
    return Document.read(path).data


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
