"""Registries: scanning, entry points, messages, and the type of a study's block."""

from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import ConfigDict, ValidationError, create_model

from cluster_sim.errors import InputError
from cluster_sim.options import ConfigModel
from cluster_sim.registry import Registry
from tests.outside_package import install, run_python


class SquareOptions(ConfigModel):
    """Four equal sides.

    More about it.
    """

    kind: Literal["square"] = "square"
    sides: tuple[float, ...] = (1.0,)


class RoundOptions(ConfigModel):
    """Options of everything round."""

    kind: Literal["circle", "oval"]
    radius: float = 1.0


def shape_registry(default: str | None = None) -> Registry[type]:
    registry: Registry[type] = Registry("shape", "tests.empty_axis", "cluster_sim.test_shapes", default=default)
    registry._is_scanned = True
    registry.register("square", SquareOptions)(type("Square", (), {}))
    registry.register("circle", RoundOptions)(type("Circle", (), {"__doc__": "One radius."}))
    return registry


@pytest.fixture
def shapes() -> Registry[type]:
    return shape_registry()


def model_with(registry: Registry[type], *default: Any) -> type[ConfigModel]:
    """Return a model with one field ``shape`` of the registry's axis."""
    block = registry.annotation()
    return create_model("Drawing", __base__=ConfigModel, shape=(block, *default) if default else (block, ...))


def read(model: type[ConfigModel], text: str) -> Any:
    return model.model_validate_json(text, strict=True)


def test_entries_have_options_and_a_summary(shapes: Registry[type]) -> None:
    """An entry has its name, its options, and a line for users: the options' own unless parts share them."""
    assert shapes.names() == ["circle", "square"]
    assert shapes.get("square").options is SquareOptions
    assert [entry.summary for entry in shapes.entries()] == ["One radius.", "Four equal sides."]
    assert shapes.owners("radius") == ["circle"]
    assert shapes.owners("kind") == ["circle", "square"]
    assert shapes.chosen_by(SquareOptions()).name == "square"
    assert shapes.get("square").package == SquareOptions.__module__.partition(".")[0]


def test_an_unknown_name_is_answered_with_the_nearest(shapes: Registry[type]) -> None:
    """The message names the noun, the nearest name and every known one."""
    with pytest.raises(InputError, match=r"^unknown shape 'circel'; did you mean 'circle'\?; known: circle, square$"):
        shapes.get("circel")


def test_a_name_is_registered_once(shapes: Registry[type]) -> None:
    """A second part of the same name is refused, and the message says whose the name is."""
    with pytest.raises(ValueError, match=rf"the shape 'square' is registered already, by {SquareOptions.__module__}"):
        shapes.register("square", SquareOptions)


def test_options_must_allow_the_name(shapes: Registry[type]) -> None:
    """Options whose tag is not a literal of the name would break the union of all; they are refused at once."""
    with pytest.raises(TypeError, match=r"RoundOptions needs the field kind: Literal\['ring'\]"):
        shapes.register("ring", RoundOptions)
    with pytest.raises(TypeError, match="ConfigModel needs the field kind"):
        shapes.register("ring", ConfigModel)


def test_what_is_registered_inside_is_forgotten(shapes: Registry[type]) -> None:
    """After an isolated context only the earlier entries are left."""
    with shapes.isolated():
        shapes.register("oval", RoundOptions)(object)
        assert "oval" in shapes.names()
    assert shapes.names() == ["circle", "square"]


def test_a_block_holds_the_options_that_its_tag_names(shapes: Registry[type]) -> None:
    """A block becomes the options of its part, lists as JSON has them; parts may share options."""
    shapes.register("oval", RoundOptions)(object)
    model = model_with(shapes)
    assert read(model, '{"shape": {"kind": "square", "sides": [2.0, 3.0]}}').shape == SquareOptions(sides=(2.0, 3.0))
    assert read(model, '{"shape": {"kind": "oval"}}').shape == RoundOptions(kind="oval")
    assert model(shape=SquareOptions()).model_dump() == {"shape": {"kind": "square", "sides": (1.0,)}}


def test_a_block_without_tag_is_the_default() -> None:
    """Without a tag a block is the default part's; an axis without default requires the tag."""
    text = '{"shape": {"sides": [2.0]}}'
    assert read(model_with(shape_registry("square")), text).shape == SquareOptions(sides=(2.0,))
    assert read(model_with(shape_registry("square"), SquareOptions()), "{}").shape == SquareOptions()
    with pytest.raises(ValidationError, match="union_tag_not_found"):
        read(model_with(shape_registry()), text)


@pytest.mark.parametrize("block", ['{"kind": "sqare"}', '{"kind": 3}', '{"kind": ["square"]}', "3", "[]", "null"])
def test_a_wrong_tag_is_refused(shapes: Registry[type], block: str) -> None:
    """A tag that is no name of the axis, or a block that is no mapping, is a validation error."""
    with pytest.raises(ValidationError, match="union_tag"):
        read(model_with(shapes), f'{{"shape": {block}}}')


def test_a_part_may_hold_parts_of_its_own_axis(shapes: Registry[type]) -> None:
    """Options completed late may have blocks of their own axis, to any depth."""
    group: Any = create_model(
        "Group",
        __base__=type("Late", (ConfigModel,), {"model_config": ConfigDict(defer_build=True)}),
        kind=(Literal["group"], ...),
        parts=(tuple[shapes.annotation(), ...], ()),
    )
    shapes.register("group", group)(object)
    block = '{"kind": "group", "parts": [{"kind": "group"}, {"kind": "square"}]}'
    parts = (group(kind="group"), SquareOptions())
    assert read(model_with(shapes), f'{{"shape": {block}}}').shape == group(kind="group", parts=parts)


def test_an_axis_of_one_part(shapes: Registry[type]) -> None:
    """An axis may have a single part."""
    lonely: Registry[type] = Registry("shape", "tests.empty_axis", "cluster_sim.test_shapes")
    lonely._is_scanned = True
    lonely.register("square", SquareOptions)(object)
    assert read(model_with(lonely), '{"shape": {"kind": "square"}}').shape == SquareOptions()
    assert model_with(lonely).model_json_schema()["properties"]["shape"] == {"$ref": "#/$defs/SquareOptions"}


def test_the_json_schema_requires_the_tag_where_the_program_does() -> None:
    """In the JSON Schema only the default part's block may lack the tag."""
    shape = model_with(shape_registry("square")).model_json_schema()["properties"]["shape"]
    assert shape["oneOf"] == [
        {"$ref": "#/$defs/RoundOptions", "required": ["kind"]},
        {"$ref": "#/$defs/SquareOptions"},
    ]


AXIS = """\
from cluster_sim.registry import Registry

SHAPES = Registry("shape", "painting.shapes", "painting.shapes")
"""

PART = """\
from typing import Literal

from cluster_sim.options import ConfigModel
from painting.axis import SHAPES


class Options(ConfigModel):
    kind: Literal["{name}"]


@SHAPES.register("{name}", Options)
class Part:
    "{name}"
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of installed packages: an axis with one part of its own, and one part from another package."""
    site = tmp_path / "site"
    shapes = site / "painting" / "shapes"
    shapes.mkdir(parents=True)
    (site / "painting" / "axis.py").write_text(AXIS)
    (shapes / "__init__.py").touch()
    (shapes / "square.py").write_text(PART.format(name="square"))
    install(site, "ring_shape", PART.format(name="ring"), "painting.shapes")
    return site


def printed(site: Path, expression: str) -> list[str]:
    done = run_python(site, "-c", f"from painting.axis import SHAPES\nprint({expression})")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_parts_are_found_in_the_folder_and_by_entry_points(site: Path) -> None:
    """The axis has the parts of its own folder and those of installed packages, each with its package."""
    expression = "[(entry.name, entry.package) for entry in SHAPES.entries()], SHAPES.failures"
    assert printed(site, expression) == ["[('ring', 'ring_shape'), ('square', 'painting')] {}"]


def test_parts_that_share_options_must_declare_them_alike() -> None:
    """A part whose option differs from another's in the common block is not registered; equal ones are."""
    registry: Registry[type] = Registry("shape", "tests.empty_axis", "cluster_sim.test_shapes", shares_options=True)
    registry._is_scanned = True
    registry.register("square", SquareOptions)(type("Square", (), {}))
    alike = create_model(
        "Alike", __base__=ConfigModel, kind=(Literal["cube"], "cube"), sides=(tuple[float, ...], (1.0,))
    )
    registry.register("cube", alike)(type("Cube", (), {}))
    other = create_model("Other", __base__=ConfigModel, kind=(Literal["bar"], "bar"), sides=(int, 4))
    with pytest.raises(TypeError, match="declares the option sides otherwise than square does"):
        registry.register("bar", other)(type("Bar", (), {}))
    assert registry.names() == ["cube", "square"]


def test_nothing_is_imported_before_it_is_asked(site: Path) -> None:
    """Defining an axis, and a type of its blocks, imports no part."""
    expression = "SHAPES.annotation() and __import__('sys').modules.keys() & {'ring_shape', 'painting.shapes.square'}"
    assert printed(site, expression) == ["set()"]


def test_a_named_part_needs_no_other(site: Path) -> None:
    """A part in a module of its own name, and a study's block that names it, are found without importing the others."""
    (site / "painting" / "shapes" / "round.py").write_text(PART.format(name="circle"))
    modules = "__import__('sys').modules.keys() & {'ring_shape', 'painting.shapes.round'}"
    block = "__import__('pydantic').TypeAdapter(SHAPES.annotation()).validate_python({'kind': 'square'}).kind"
    assert printed(site, f"SHAPES.get('square').name, {block}, {modules}") == ["square square set()"]
    assert printed(site, f"SHAPES.get('circle').name, sorted({modules})") == [
        "circle ['painting.shapes.round', 'ring_shape']"
    ]


def test_a_broken_entry_point_leaves_the_others(site: Path) -> None:
    """A package that cannot be loaded is named with its error beside an unknown name; every other part works.

    What it had registered before it failed is not there either.
    """
    install(site, "bent_shape", PART.format(name="bent") + "import nowhere_to_be_found", "painting.shapes")
    install(site, "another_square", PART.format(name="square"), "painting.shapes")
    *names, message = printed(site, "*SHAPES.names(), SHAPES.unknown('bent'), sep='\\n'")
    assert names == ["ring", "square"]
    assert message == (
        "unknown shape 'bent'; known: ring, square; the shape 'another_square' of the package another-square cannot be "
        "loaded (ValueError: the shape 'square' is registered already, by painting.shapes.square); the shape "
        "'bent_shape' of the package bent-shape cannot be loaded (ModuleNotFoundError: No module named "
        "'nowhere_to_be_found')"
    )
