"""The comparison of policies: its figures, tables and picture; a short run of it where the traces are."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

S = 1_000_000_000


@pytest.fixture(scope="module")
def script(checkout: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("compare_policies", checkout / "scripts" / "compare_policies.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_imbalance_is_the_most_over_the_mean(script: ModuleType) -> None:
    """One request at one of eight replicas is 8; two at one and one at each of two others is 2 / (4 / 8) = 4."""
    columns = {
        "replica": np.array([0, 0, 1, 2]),
        "dispatch_ns": np.array([0, S, S, S]),
        "finish_ns": np.array([2 * S, 3 * S, 3 * S, 3 * S]),
        "arrival_ns": np.array([0, S, S, 2 * S]),
    }
    assert script.imbalance(columns) == pytest.approx((10 * 8 + 10 * 4) / 20)


def test_tables_replace_those_of_the_page(script: ModuleType) -> None:
    """What stands between the marks is replaced; a page without marks is an error."""
    page = "a\n<!-- comparison azure -->\nold\n<!-- end -->\nb\n"
    assert script.with_tables(page, {"azure": "new\n"}) == page.replace("old", "new")
    with pytest.raises(AssertionError, match="0 places for the comparison azure"):
        script.with_tables("a", {"azure": "new\n"})


def test_the_picture_has_a_line_for_each_policy(script: ModuleType) -> None:
    """Two panels of three lines."""
    figures = script.Figures(np.array([0.1, 0.5]), np.array([1.0, 2.0]), 0.5, 1.5, 10.0)
    drawn = script.picture({title: [figures] * len(script.PERIODS_S) for title in script.HERDING})
    assert drawn.count("<polyline") == 6


def test_a_short_comparison(script: ModuleType, shared: Path, tmp_path: Path) -> None:
    """One policy under all workloads writes its tables."""
    page = tmp_path / "page.md"
    page.write_text("".join(f"<!-- comparison {name} -->\n<!-- end -->\n" for name in script.workloads(shared, 1)))
    assert script.main([str(shared / "traces"), "--page", str(page), "--share", "0.02", "--only", "round_robin"]) == 0
    assert page.read_text().count("| `round_robin` |") == 3
