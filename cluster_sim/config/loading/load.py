"""Loading of a study file into a checked ``Study``, with messages that name file, line, key and allowed values."""

import json
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from cluster_sim.config.loading.overrides import apply_overrides
from cluster_sim.config.loading.sweep_keys import index_sweep_keys
from cluster_sim.config.schema.study import Study
from cluster_sim.document import Document
from cluster_sim.errors import InputError
from cluster_sim.options import BASE_DIRECTORY, HAS_SWEEP, NOTES
from cluster_sim.validation_messages import message_of


def load_study(path: Path, overrides: Iterable[str] = ()) -> Study:
    """Read, override and check a study file; raise ``InputError`` that lists the faults with their places."""
    return check_study(read_document(path, overrides), path.resolve().parent)


def read_document(path: Path, overrides: Iterable[str] = ()) -> Document:
    """Read and override a study file without checking it."""
    document = Document.read(path)
    apply_overrides(document, overrides)
    return document


def check_study(document: Document, base_directory: Path, notes: list[str] | None = None) -> Study:
    """Return the study that ``document`` describes; files in it are looked up from ``base_directory``.

    Remarks about what the document says in vain are added to ``notes``.  With a sweep, whether the engine has each of
    its options is left to the sweep's values.
    """
    index_sweep_keys(document)
    context = {BASE_DIRECTORY: base_directory, NOTES: notes, HAS_SWEEP: document.data.get("sweep") is not None}
    try:
        # Through JSON, because strict there means what a YAML file needs: no text for numbers, lists for tuples.
        return Study.model_validate_json(json.dumps(document.data), strict=True, context=context)
    except ValidationError as error:
        raise InputError(message_of(Study, document, error.errors(include_url=False))) from None
