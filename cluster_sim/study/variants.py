"""Variants of a study that a sweep runs."""

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster_sim.config.loading.canonical import config_hash
from cluster_sim.config.loading.error_context import locating_errors
from cluster_sim.config.loading.load import check_study
from cluster_sim.config.loading.overrides import set_value
from cluster_sim.config.schema.study import Study
from cluster_sim.config.schema.sweep import Sweep
from cluster_sim.document import Document
from cluster_sim.errors import InputError
from cluster_sim.simulation.plan import make_plan
from cluster_sim.study.combinations import combinations, source_of


@dataclass(frozen=True, slots=True)
class Variant:
    """One combination; ``study`` is None if the values make no valid study or plan, and ``error`` says why."""

    index: int
    """Place in the order of the combinations."""
    values: dict[str, Any]
    """The value of every key that the sweep sets."""
    study: Study | None
    error: str | None

    @property
    def label(self) -> str:
        """The values as ``--set`` would give them."""
        return " ".join(
            f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in self.values.items()
        )

    @property
    def run_id(self) -> str:
        """What names the variant's files: its place, and the hash of its configuration."""
        return f"{self.index:05d}-{config_hash(self.study) if self.study else 'invalid'}"


def expand(path: Path, document: Document) -> list[Variant]:
    """Return the variants of a study file in the order of their combinations.

    A combination that makes no valid study is kept, with its error.  Raises ``InputError`` if the study itself is
    wrong, has no ``sweep`` block, or no combination is valid.
    """
    base_directory = path.resolve().parent
    base = check_study(document, base_directory)
    sweep = base.sweep
    if sweep is None:
        raise InputError(f"{path}: has no sweep block; for example sweep: {{grid: {{seed: [1, 2, 3]}}}}")
    own = {key: _own_value(base.model_dump(), key) for key in sweep.keys}
    with locating_errors(document):
        chosen = combinations(sweep, own)
    variants: list[Variant] = []
    planned: Study | None = None
    for index, values in enumerate(chosen):
        variant = _variant(index, values, sweep, document, base_directory, planned)
        variants.append(variant)
        planned = variant.study or planned
    if all(variant.study is None for variant in variants):
        raise InputError(f"no combination of the sweep is a valid study; the first:\n{variants[0].error}")
    return variants


def configurations(path: Path, document: Document) -> list[Variant]:
    """Return the variants of a study file, or the study alone if it has no ``sweep`` block.

    Raises ``InputError`` as ``expand`` does.
    """
    study = check_study(document, path.resolve().parent)
    if study.sweep is not None:
        return expand(path, document)
    with locating_errors(document):
        make_plan(study)
    return [Variant(0, {}, study, None)]


def _variant(
    index: int,
    values: dict[str, Any],
    sweep: Sweep,
    document: Document,
    base_directory: Path,
    planned: Study | None,
) -> Variant:
    """Return a variant; one that differs from the study ``planned`` in its seed alone has a plan as that does."""
    changed = Document(document.source, copy.deepcopy(document.data), dict(document.places))
    changed.data.pop("sweep")
    try:
        for key, value in values.items():
            source = source_of(sweep, key)
            where = f"{document.where(('sweep', *source))} (sweep.{'.'.join(source[:-1]) or source[0]})"
            set_value(changed, key, copy.deepcopy(value), where)
        study = check_study(changed, base_directory)
        if planned is None or study != planned.model_copy(update={"seed": study.seed}):
            with locating_errors(changed):
                make_plan(study)
        return Variant(index, values, study, None)
    except InputError as error:
        return Variant(index, values, None, str(error))


def _own_value(place: Any, key: str) -> Any:
    """Return what stands at a dotted key of a study; None where nothing does."""
    for part in key.split("."):
        if isinstance(place, dict):
            place = place.get(part)
        elif isinstance(place, list | tuple) and part.isdecimal() and int(part) < len(place):
            place = place[int(part)]
        else:
            return None
    return place
