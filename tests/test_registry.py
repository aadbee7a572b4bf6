"""Registries: scanning, entry points, messages."""

from typing import Literal

import pytest

from cluster_sim.errors import InputError
from cluster_sim.options import ConfigModel
from cluster_sim.registry import Registry


class SquareOptions(ConfigModel):
    kind: Literal["square"] = "square"
    side: float = 1.0


class CircleOptions(ConfigModel):
    kind: Literal["circle"] = "circle"
    radius: float = 1.0


@pytest.fixture
def shapes() -> Registry[type]:
    registry: Registry[type] = Registry("shape", "tests.serving.kv_cache.empty", "cluster_sim.test_shapes")
    registry._is_scanned = True

    @registry.register("square", SquareOptions)
    class Square:
        """Four equal sides.

        More about it.
        """

    @registry.register("circle", CircleOptions)
    class Circle:
        """One radius."""

    assert Square is not Circle
    return registry


def test_entries_have_options_and_a_summary(shapes: Registry[type]) -> None:
    """An entry has its name, its options and the first line of its docstring."""
    assert shapes.names() == ["circle", "square"]
    assert shapes.get("square").options is SquareOptions
    assert shapes.get("square").summary == "Four equal sides."
    assert shapes.owners("radius") == ["circle"]


def test_an_unknown_name_is_answered_with_the_nearest(shapes: Registry[type]) -> None:
    """The message names the noun, the nearest name and every known one."""
    with pytest.raises(InputError, match=r"unknown shape 'circel'; did you mean 'circle'\?; known: circle, square"):
        shapes.get("circel")


def test_what_is_registered_inside_is_forgotten(shapes: Registry[type]) -> None:
    """After an isolated context only the earlier entries are left."""
    with shapes.isolated():
        shapes.register("oval", CircleOptions)(object)
        assert "oval" in shapes.names()
    assert shapes.names() == ["circle", "square"]
