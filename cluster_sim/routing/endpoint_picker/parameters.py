"""Parameters of a plugin as its options: names in any letter case, as Go reads them."""

from collections.abc import Mapping
from typing import Any

from pydantic import AliasChoices

from cluster_sim.routing.endpoint_picker.parts import PartOptions


def known_parameters(options: type[PartOptions], parameters: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the parameters that ``options`` has, under the names that it knows, and the names of the others."""
    names: dict[str, str] = {}
    for name, field in options.model_fields.items():
        if name == "type":
            continue
        aliases = field.validation_alias.choices if isinstance(field.validation_alias, AliasChoices) else [field.alias]
        for alias in [name, *aliases]:
            if isinstance(alias, str):
                names[alias.lower()] = alias
    known: dict[str, Any] = {}
    unknown = []
    for key, value in parameters.items():
        alias = names.get(str(key).lower())
        if alias is None:
            unknown.append(str(key))
        elif value is not None:
            known[alias] = value
    return known, unknown
