"""A binary of other sources, another Python or another CPU is refused, and the message says how to build one."""

import ast
import copy
import json
from pathlib import Path
from typing import Any

import pytest

from cluster_sim.errors import InputError
from cluster_sim.kernel import binary, kernels
from cluster_sim.kernel.modules import MODULES
from cluster_sim.kernel.names import KERNEL
from cluster_sim.simulation.plan import make_plan
from tests.actors.matrix import small_study
from tests.kernel.both import needs_binary


@pytest.fixture
def stamp(checkout: Path) -> dict[str, Any]:
    """What a binary built now would be stamped with."""
    return binary.stamp_of(checkout)


def test_a_binary_of_these_sources_fits(stamp: dict[str, Any]) -> None:
    """Nothing differs, and every module of the group has its hash, and the list of them."""
    assert binary.difference(copy.deepcopy(stamp), stamp) == ""
    assert set(stamp["sources"]) == {*MODULES, "cluster_sim.kernel.modules"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cpu": "riscv64"}, "was made for another CPU (riscv64, not "),
        ({"abi": ".cpython-39-x86_64-linux-gnu.so"}, "was made for another Python (.cpython-39-x86_64-linux-gnu.so, "),
        ({"sources": {}}, "was made of other sources: "),
    ],
)
def test_other_binaries_are_refused(stamp: dict[str, Any], change: dict[str, Any], message: str) -> None:
    """The CPU, the Python and each source must be the same."""
    assert binary.difference(stamp | change, stamp).startswith(message)


def test_a_changed_source_is_named(stamp: dict[str, Any]) -> None:
    """The message names the module that is not the one that was compiled."""
    old = copy.deepcopy(stamp)
    old["sources"]["cluster_sim.serving.replica"] = "0"
    assert binary.difference(old, stamp) == "was made of other sources: serving.replica has changed"


def test_imported_constants_count(checkout: Path) -> None:
    """A binary is stamped with modules outside of the group too, and one that has gone is a change."""
    stamp = binary.stamp_of(checkout, [*MODULES, "cluster_sim.units"])
    assert binary.difference(stamp, stamp) == ""
    gone = binary.stamp_of(checkout, [*MODULES, "cluster_sim.no_such_module"])
    assert gone["sources"]["cluster_sim.no_such_module"] == ""
    old = stamp | {"sources": stamp["sources"] | {"cluster_sim.units": "0"}}
    assert binary.difference(old, stamp) == "was made of other sources: units has changed"


@needs_binary
def test_the_binary_is_stamped_with_what_it_imports(checkout: Path) -> None:
    """Every module that one of the group names in an import, inside and outside of it."""
    found = json.loads((checkout / KERNEL / binary.STAMP).read_text())["sources"]
    assert {"cluster_sim.units", "cluster_sim.hardware.predictors.collectives", *MODULES} <= set(found)


def test_a_study_that_wants_what_is_not_there_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """``compiled`` is refused with the way to build it, ``auto`` runs in Python and says why."""
    monkeypatch.setattr(binary, "fault", lambda: f"there is none here; {binary.HOW_TO_BUILD}")
    monkeypatch.delenv(kernels.VARIABLE)
    study = small_study("round_robin")
    kernel = make_plan(study).simulation().kernel
    assert (kernel.name, kernel.reason) == ("python", f"there is none here; {binary.HOW_TO_BUILD}")
    wanting = study.model_copy(update={"run": study.run.model_copy(update={"kernel": "compiled"})})
    with pytest.raises(InputError, match=r"^run\.kernel: compiled asks for .*`make kernel` in a checkout builds it"):
        make_plan(wanting).simulation()


TYPES_ONLY = {
    "cluster_sim.recording.live_state",
    "cluster_sim.recording.series_columns",
    "cluster_sim.serving.kv_cache.settings",
    "cluster_sim.serving.ordering",
    "cluster_sim.serving.replica_settings",
    "cluster_sim.serving.schedulers.engine_options",
    "cluster_sim.serving.schedulers.sglang_options",
    "cluster_sim.serving.schedulers.vllm_options",
}
"""Modules outside of the group that import it for types, options and constants, and make no object of its classes."""


def test_the_group_is_closed(checkout: Path) -> None:
    """What the compiled modules import is compiled too, or makes no objects of their classes: they would not take
    those of the sources.
    """
    waiting, imported = list(MODULES), {}
    while waiting:
        module = waiting.pop()
        path = checkout / f"{module.replace('.', '/')}.py"
        if module in imported or not path.exists():
            continue
        found = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        names = {node.module or "" for node in found}
        names |= {f"{node.module}.{name.name}" for node in found for name in node.names}
        imported[module] = {name for name in names if name.startswith("cluster_sim.")}
        waiting += imported[module]
    group = set(MODULES)
    assert group <= set(imported)
    assert {module for module in set(imported) - group if imported[module] & group} == TYPES_ONLY
