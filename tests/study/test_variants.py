"""Variants of a study: those that differ in their seeds alone are planned once."""

from pathlib import Path

import pytest

from cluster_sim.config.schema.study import Study
from cluster_sim.document import Document
from cluster_sim.simulation.plan import Plan, make_plan
from cluster_sim.study import variants
from cluster_sim.study.variants import expand
from tests.small_run import STUDY


def test_seeds_share_one_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three seeds for four parallelisms four variants are planned, and that which is impossible three times; every
    variant has its seed, and its error if it has one.
    """
    path = tmp_path / "study.yaml"
    grid = "sweep: {grid: {fleet.pools.0.tensor_parallel: [1, 3, 2, 4], seed: [5, 6, 7]}}\n"
    path.write_text(STUDY + grid, encoding="utf-8")
    planned: list[tuple[int, int]] = []

    def noted(study: Study) -> Plan:
        planned.append((study.fleet.pools[0].tensor_parallel, study.seed))
        return make_plan(study)

    monkeypatch.setattr(variants, "make_plan", noted)
    found = expand(path, Document.read(path))
    assert planned == [(1, 5), (3, 5), (3, 6), (3, 7), (2, 5), (4, 5)]
    assert [variant.study.seed if variant.study else -1 for variant in found] == [5, 6, 7, -1, -1, -1, 5, 6, 7, 5, 6, 7]
    assert all("tensor_parallel" in str(variant.error) for variant in found[3:6])
