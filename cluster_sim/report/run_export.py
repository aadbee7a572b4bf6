"""Export of one finished run to another program, by the target's name and its options."""

import json
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from cluster_sim.config.loading.overrides import apply_overrides
from cluster_sim.document import Document
from cluster_sim.errors import InputError
from cluster_sim.report.export_target import EXPORTS
from cluster_sim.report.run_data import RunData, undamaged
from cluster_sim.shown_values import cut
from cluster_sim.validation_messages import message_of


def export_run(directory: Path, target: str, settings: Iterable[str] = ()) -> str:
    """Export the run in ``directory``; return where it went.

    ``settings`` are options of the target, each ``name=value``.  Raises InputError for an unknown target or option, if
    there is no complete run, and if the target's package is missing or refuses.
    """
    entry = EXPORTS.get(target)
    document = Document(target, {"kind": target}, {})
    apply_overrides(document, settings)
    try:
        options = entry.options.model_validate_json(json.dumps(document.data), strict=True)
    except ValidationError as error:
        raise InputError(message_of(entry.options, document, error.errors(include_url=False))) from None
    with undamaged(directory):
        data = RunData.read(directory)
    try:
        return entry.part(data, options)
    except InputError:
        raise
    except Exception as error:
        words = cut(" ".join(str(error).split()), 500)
        raise InputError(f"{target}: {type(error).__name__}: {words}") from error
