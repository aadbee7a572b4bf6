"""Families of architectures: the ``model_type``s that are understood, and how the file of each is read.

A family is one module with a constant ``FAMILY``: in the folder ``families``, or in another installed package that
declares the module as an entry point of the group ``cluster_sim.model_families``.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any, Final

from cluster_sim.hardware.model_config.config_file import ConfigFile
from cluster_sim.hardware.model_config.decoder_keys import Fields
from cluster_sim.hardware.model_config.module_names import USUAL_NAMES

ENTRY_POINTS: Final = "cluster_sim.model_families"
_FOLDER: Final = "cluster_sim.hardware.model_config.families"


@dataclass(frozen=True, slots=True)
class Family:
    """Rules of some architectures."""

    read: Callable[[ConfigFile], Fields]
    """Takes the figures out of a file; keys that it does not ask for count as not understood."""
    defaults: Mapping[str, Mapping[str, Any]]
    """By ``model_type`` what the transformers library fills in for keys that a file leaves out."""
    harmless: frozenset[str] = frozenset()
    """Keys that look like cost and are none."""
    module_names: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: USUAL_NAMES)
    """How checkpoints of these architectures call the usual modules, for lists of those that are not converted."""


class FamilyCatalogue:
    """Every family that is installed, by ``model_type``."""

    def __init__(self) -> None:
        folder = importlib.import_module(_FOLDER)
        modules = [
            importlib.import_module(module.name) for module in pkgutil.iter_modules(folder.__path__, f"{_FOLDER}.")
        ]
        self.failures: list[str] = []
        """Entry points that could not be loaded, with the error."""
        for point in entry_points(group=ENTRY_POINTS):
            try:
                modules.append(point.load())
            except Exception as error:  # noqa: BLE001 - a broken package must not take every other family with it
                self.failures.append(f"{point.value} cannot be loaded ({type(error).__name__}: {error})")
        self._families: dict[str, Family] = {}
        for module in modules:
            family: Family = module.FAMILY
            self._families |= dict.fromkeys(family.defaults, family)

    @property
    def model_types(self) -> list[str]:
        """The understood ``model_type``s, sorted."""
        return sorted(self._families)

    def get(self, model_type: str) -> Family | None:
        """Return the family of a ``model_type``; None if it is not understood."""
        return self._families.get(model_type)
