"""Documents that a study names: the path of a YAML or JSON file in the study, its content in the checked study.

So the configuration hash counts the content, the resolved study is complete by itself, and what is built from it reads
no file.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationInfo
from pydantic_core import PydanticCustomError

from cluster_sim.document import Document, KeyPath, dotted
from cluster_sim.errors import InputError
from cluster_sim.options import BASE_DIRECTORY, NOTES, resolve_file
from cluster_sim.shown_values import shortened


class DocumentError(InputError):
    """A fault at one key of a document; the message does not name the key."""

    def __init__(self, path: KeyPath, text: str) -> None:
        super().__init__(text)
        self.path = path


Check = Callable[[dict[str, Any]], Sequence[str]]
"""Checks the content of a document and returns remarks about what is left out; raises ``DocumentError``."""


def named_document(value: Any, info: ValidationInfo, check: Check) -> Any:
    """Return the checked content of a document that is given by its path, or as it is.

    A path counts from the study's directory; where that is not known (no context), it stays a path.
    """
    if isinstance(value, dict):
        return _checked(Document("", value, {}), info, check)
    if not isinstance(value, str):
        raise PydanticCustomError(
            "unknown_entry", "must be the path of a file, or its content; got {given}", {"given": shortened(value)}
        )
    if (info.context or {}).get(BASE_DIRECTORY) is None:
        return value
    try:
        document = Document.read(Path(resolve_file(value, info)))
    except InputError as error:
        raise PydanticCustomError("unknown_entry", "{text}", {"text": str(error)}) from None
    return _checked(document, info, check)


def _checked(document: Document, info: ValidationInfo, check: Check) -> dict[str, Any]:
    try:
        remarks = check(document.data)
    except DocumentError as fault:
        place = f"{document.where(fault.path)}: " if document.source else ""
        text = f"{place}{dotted(fault.path)}: {fault}"
        raise PydanticCustomError("unknown_entry", "{text}", {"text": text}) from None
    notes = (info.context or {}).get(NOTES)
    if notes is not None:
        source = f"{document.source}: " if document.source else ""
        notes.extend(f"{source}{remark}" for remark in remarks)
    return document.data
