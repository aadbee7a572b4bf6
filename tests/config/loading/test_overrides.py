"""``--set``: dotted keys, list indices, YAML values, places in later messages."""

import pytest

from cluster_sim.config.loading.overrides import DEFAULT_POOL_NAME, apply_overrides, indexed_key
from cluster_sim.config.schema.fleet import Pool
from cluster_sim.document import Document
from cluster_sim.errors import InputError


def changed(*overrides: str) -> dict[str, object]:
    document = Document.parse("seed: 1\nfleet:\n  pools:\n    - {name: a, replicas: 1}\nslo:\n", "f.yaml")
    apply_overrides(document, overrides)
    return document.data


@pytest.mark.parametrize(
    ("override", "keys", "value"),
    [
        ("seed=7", ("seed",), 7),
        ("fleet.pools.0.replicas=8", ("fleet", "pools", 0, "replicas"), 8),
        ("fleet.pools.a.replicas=8", ("fleet", "pools", 0, "replicas"), 8),
        ("fleet.pools.0={name: b}", ("fleet", "pools", 0), {"name": "b"}),
        ("slo.ttft_p99_s=1e0", ("slo", "ttft_p99_s"), 1.0),
        ("run.executor=ray", ("run", "executor"), "ray"),
        ("a.b.c=x=y", ("a", "b", "c"), "x=y"),
        ("seed=", ("seed",), None),
        ("seed='7'", ("seed",), "7"),
    ],
)
def test_sets_a_value(override: str, keys: tuple[str | int, ...], value: object) -> None:
    """The value lands where the dotted key says; missing blocks on the way are made."""
    place: object = changed(override)
    for key in keys:
        place = place[key]  # type: ignore[index]
    assert place == value


def test_later_overrides_win() -> None:
    """Overrides apply in order."""
    assert changed("seed=2", "seed=3")["seed"] == 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "must look like key.path=value"),
        ("=3", "must look like key.path=value"),
        ("fleet.pools.1.replicas=2", "name an item by its index (0 to 0) or by its name (a), not '1'"),
        ("fleet.pools.main.replicas=2", "name an item by its index (0 to 0) or by its name (a), not 'main'"),
        ("seed.x=2", "seed is the single value 1"),
        ("seed=[1", "--set seed=[1: not valid YAML"),
    ],
)
def test_refusals(override: str, message: str) -> None:
    """A key that leads nowhere and a value that is no YAML are refused, naming the override."""
    with pytest.raises(InputError) as caught:
        changed(override)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"--set {override}")


def test_place_is_the_override() -> None:
    """Later messages about an overridden value name the override, not the file's line."""
    document = Document.parse("fleet:\n  pools:\n    - {name: a}\n", "f.yaml")
    apply_overrides(document, ["fleet.pools.0={name: b, x: 1}"])
    assert document.where(("fleet", "pools", 0, "x")) == "--set fleet.pools.0={name: b, x: 1}"


def test_a_pool_without_a_name_has_the_schema_s_default() -> None:
    """Its name in keys is the default of the schema; an unknown name stays in a key that is only looked up."""
    document = Document.parse("fleet: {pools: [{replicas: 1}]}\n", "f.yaml")
    apply_overrides(document, ["fleet.pools.main.replicas=3"])
    assert document.data["fleet"]["pools"][0]["replicas"] == 3
    assert Pool.model_fields["name"].default == DEFAULT_POOL_NAME
    assert indexed_key(document.data, "fleet.pools.main.engine.kind") == "fleet.pools.0.engine.kind"
    assert indexed_key(document.data, "fleet.pools.other.replicas") == "fleet.pools.other.replicas"


def test_a_name_that_two_items_have_is_refused() -> None:
    """Two pools of one name are told apart by their indices alone."""
    document = Document.parse("fleet: {pools: [{name: a}, {name: a}]}\n", "f.yaml")
    with pytest.raises(InputError, match="name an item by its index"):
        apply_overrides(document, ["fleet.pools.a.replicas=3"])
