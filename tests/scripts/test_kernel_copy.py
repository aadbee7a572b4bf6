"""Copies of sources for the compiler of the step loop."""

import sys
from pathlib import Path

import pytest

SOURCE = '''"""A module."""

from typing import ClassVar, Final

from cluster_sim.one import One, other
from cluster_sim.two import Two

KEY = tuple["Parent", int]


@PARTS.register("first", FirstOptions)
class First(Two):
    """A part."""

    __slots__ = ("value",)

    def on_one(self, item):
        return sum(part.size for part in item) + self._HANDLERS[One](self)

    _HANDLERS: ClassVar[dict] = {One: on_one}


class FirstOptions(ConfigModel):
    """Options."""


def build(entry):
    return entry.part()
'''


@pytest.fixture
def rewritten(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The copy of a module in a group with one of the two that it imports."""
    monkeypatch.syspath_prepend(str(checkout / "scripts"))
    from kernel_copy import Copy

    (tmp_path / "cluster_sim").mkdir()
    (tmp_path / "cluster_sim" / "first.py").write_text(SOURCE)
    text = Copy(tmp_path, "cluster_sim.first", ["cluster_sim.first", "cluster_sim.one"]).rewritten()
    sys.modules.pop("kernel_copy")
    return text


def test_imports_lead_into_the_group(rewritten: str) -> None:
    """Only what is compiled too has the other name."""
    assert "from cluster_sim_kernel.one import One, other\n" in rewritten
    assert "from cluster_sim.two import Two\n" in rewritten


def test_classes_are_what_the_compiler_takes(rewritten: str) -> None:
    """No slots, no registration, no methods named in the body; options stay those of the source."""
    assert "__slots__" not in rewritten
    assert "register" not in rewritten
    assert "@_mypyc_attr(serializable=True)\nclass First(Two):" in rewritten
    assert "First_HANDLERS: dict[_Any, _Any] = {\n    One: First.on_one,\n}" in rewritten
    assert "from cluster_sim.first import FirstOptions" in rewritten


def test_statements_mean_what_they_mean_in_python(rewritten: str) -> None:
    """Sums are Python's own, registries answer with the kernel's classes, and no type holds itself."""
    assert "return sum([part.size for part in item]) + First_HANDLERS[One](self)" in rewritten
    assert "return _counterpart(entry.part)()" in rewritten
    assert "KEY = tuple[object, int]" in rewritten
