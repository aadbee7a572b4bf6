"""Bounds of the schema: no number of a study is without limits."""

import math
from collections.abc import Iterator
from typing import Any

from cluster_sim.config.loading.schema_export import study_schema

UNBOUNDED = {
    # .inf is allowed there and means all at once; what lies beyond any bound would as well.
    "ConstantArrivals.request_rate",
    "GammaArrivals.request_rate",
    "PoissonArrivals.request_rate",
    "TraceWorkload.request_rate",
    # The reader of endpoint pickers checks it.
    "EndpointPickerOptions.config.schedulingProfiles.items.plugins.items.weight",
}


def unbounded(schema: Any, path: str = "") -> Iterator[str]:
    """Yield the places of numbers that have no greatest, or neither a least nor a symmetrical bound."""
    if isinstance(schema, dict):
        if schema.get("type") in ("integer", "number"):
            greatest = schema.get("maximum", schema.get("exclusiveMaximum", math.inf))
            least = schema.get("minimum", schema.get("exclusiveMinimum", -math.inf))
            if not (math.isfinite(greatest) and math.isfinite(least)):
                yield path
        for key, value in schema.items():
            is_name = key not in ("properties", "$defs", "anyOf", "prefixItems", "oneOf")
            yield from unbounded(value, f"{path}.{key}".lstrip(".") if is_name else path)
    elif isinstance(schema, list):
        for item in schema:
            yield from unbounded(item, path)


def test_every_number_is_bounded_on_both_sides() -> None:
    """Every number of a study has a least and a greatest value, but for those that say why not."""
    assert set(unbounded(study_schema())) == UNBOUNDED
