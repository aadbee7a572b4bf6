"""Bounds of the schema: no number of a study is without limits."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster_sim.config.loading.schema_export import study_schema
from cluster_sim.errors import InputError
from cluster_sim.simulation.plan import make_plan
from tests.small_run import small_study

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


NAMES = (
    ("fleet.pools.0.name", "{name}"),
    ("workload.traits.tenant", "{name}"),
    ("workload.traits.slo_class", "{name}"),
    ("workload.traits.lora", "{name}"),
    ("workload.traits.prefix", "{{name: {name}, levels: [{{count: 1, tokens: 16}}]}}"),
    ("fleet.sites", "{{router: {name}}}"),
    ("fleet.sites", "{{router: a, routes: [{{between: a - {name}, latency_ms: 1}}]}}"),
)


@pytest.mark.parametrize(("key", "value"), NAMES)
def test_names_have_128_characters_at_most(tmp_path: Path, key: str, value: str) -> None:
    """A name of 128 characters is taken and one of 129 refused with the bound, wherever a study gives one."""
    small_study(tmp_path, f"{key}={value.format(name='a' * 128)}")
    with pytest.raises(InputError, match=rf"{re.escape(key)}.*: must .*at most 128 characters.*; got 'a"):
        small_study(tmp_path, f"{key}={value.format(name='a' * 129)}")


def test_a_changed_pool_may_have_the_longest_name(tmp_path: Path) -> None:
    """The pool that a change of a pool of 128 characters adds is named after it with -v2, although that is longer."""
    change = "run.changes=[{at_s: 1, set: {fleet.pools.0.engine.max_num_seqs: 8}}]"
    study = small_study(tmp_path, f"fleet.pools.0.name={'a' * 128}", change)
    assert [planned.pool.name for planned in make_plan(study).pools] == ["a" * 128, "a" * 128 + "-v2"]


def test_every_number_is_bounded_on_both_sides() -> None:
    """Every number of a study has a least and a greatest value, but for those that say why not."""
    assert set(unbounded(study_schema())) == UNBOUNDED
