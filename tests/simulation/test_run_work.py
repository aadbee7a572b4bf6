"""The work of a run in its manifest."""

import json
from pathlib import Path

import pytest

from cluster_sim.simulation.run_work import RunWork
from tests.small_run import run_small


def test_figures_by_hand() -> None:
    """Of 4 s the router waited 1; of 2, 3 and 1.5 CPU seconds the most is the least time that a run could take."""
    figures = RunWork(2.0, (3.0, 1.5), 1.0, 700, 900).figures(4.0)
    assert figures["blocked_ratio"] == 0.25
    assert figures["least_wall_s"] == 3.0
    assert (figures["sent_bytes"], figures["received_bytes"]) == (700, 900)
    assert RunWork().figures(0.0)["blocked_ratio"] == 0.0


def test_the_manifest_of_one_process(tmp_path: Path) -> None:
    """One process has no actors to wait for, and its CPU time is that of all."""
    manifest = json.loads((run_small(tmp_path).directory / "manifest.json").read_text(encoding="utf-8"))
    work = manifest["work"]
    assert work["group_cpu_s"] == []
    assert work["waited_s"] == work["sent_bytes"] == 0
    assert 0 < work["least_wall_s"] == pytest.approx(work["router_cpu_s"])
