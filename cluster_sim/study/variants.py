"""Variants of a study that a sweep runs: every combination of the grid's values."""

import copy
import json
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from cluster_sim.config.loading.canonical import config_hash
from cluster_sim.config.loading.error_context import locating_errors
from cluster_sim.config.loading.load import check_study
from cluster_sim.config.loading.overrides import set_value
from cluster_sim.config.schema.study import Study
from cluster_sim.document import Document
from cluster_sim.errors import InputError
from cluster_sim.simulation.plan import make_plan


@dataclass(frozen=True, slots=True)
class Variant:
    """One combination; ``study`` is None if the values make no valid study or plan, and ``error`` says why."""

    index: int
    """Place in the grid's order: the last key varies fastest."""
    values: dict[str, Any]
    """The value of every key of the grid."""
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
    """Return the variants of a study file in the grid's order.

    A combination that makes no valid study is kept, with its error.  Raises ``InputError`` if the study itself is
    wrong, has no ``sweep`` block, or no combination is valid.
    """
    base_directory = path.resolve().parent
    sweep = check_study(document, base_directory).sweep
    if sweep is None:
        raise InputError(f"{path}: has no sweep block; for example sweep: {{grid: {{seed: [1, 2, 3]}}}}")
    variants = [
        _variant(index, dict(zip(sweep.grid, values, strict=True)), document, base_directory)
        for index, values in enumerate(product(*sweep.grid.values()))
    ]
    if all(variant.study is None for variant in variants):
        raise InputError(f"no combination of sweep.grid is a valid study; the first:\n{variants[0].error}")
    return variants


def _variant(index: int, values: dict[str, Any], document: Document, base_directory: Path) -> Variant:
    changed = Document(document.source, copy.deepcopy(document.data), dict(document.places))
    changed.data.pop("sweep")
    try:
        for key, value in values.items():
            set_value(changed, key, copy.deepcopy(value), f"{document.where(('sweep', 'grid', key))} (sweep.grid)")
        study = check_study(changed, base_directory)
        with locating_errors(changed):
            make_plan(study)
        return Variant(index, values, study, None)
    except InputError as error:
        return Variant(index, values, None, str(error))
