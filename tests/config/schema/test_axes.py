"""The contract of every part of every axis."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from cluster_sim.config.loading.schema_export import schema_text
from cluster_sim.config.schema.axes import AXES
from cluster_sim.registry import Registry
from tests.parts import example_options

PARTS = [pytest.param(axis, name, id=f"{axis.noun}: {name}") for axis in AXES for name in axis.names()]
of_every_part = pytest.mark.parametrize(("axis", "name"), PARTS)


@of_every_part
def test_the_options_stand_beside_the_part(axis: Registry[Any], name: str) -> None:
    """Options and part stand in the folder of the axis, and the part describes itself in a sentence."""
    entry = axis.get(name)
    folder = axis.folder.replace("/", ".")
    assert entry.options.__module__.startswith(f"{folder}.")
    assert entry.part.__module__.startswith(f"{folder}.")
    assert entry.summary.endswith(".")
    assert not entry.is_outside


@of_every_part
def test_an_example_is_read_and_written_back(axis: Registry[Any], name: str, tmp_path: Path) -> None:
    """The example of a part is a valid block, and comes back when it is written out."""
    options = example_options(axis, name, tmp_path)
    adapter: TypeAdapter[Any] = TypeAdapter(axis.annotation())
    assert adapter.validate_python(options.model_dump()) == options
    assert adapter.validate_json(options.model_dump_json()) == options


@pytest.mark.parametrize("axis", AXES, ids=lambda axis: axis.noun)
def test_axes_have_a_group_of_entry_points(axis: Registry[Any]) -> None:
    """Other packages add parts through a group of this project's name, and every one here could be loaded."""
    assert axis.group.startswith("cluster_sim.")
    assert axis.failures == {}
    assert len({other.group for other in AXES}) == len(AXES)


def test_the_schema_has_every_name() -> None:
    """The exported JSON Schema of study files knows every part, by the literal of its options or in a list of names."""
    text = schema_text()
    assert [f"{axis.noun} {name}" for axis in AXES for name in axis.names() if f'"{name}"' not in text] == []
