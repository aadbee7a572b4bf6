"""Prices of a study: what a pool's GPUs cost."""

from pathlib import Path

import pytest

from tests.small_run import run_small


def test_a_price_of_the_study(tmp_path: Path) -> None:
    """A pool's own price stands for that of its device, and changes the cost alone."""
    usual = run_small(tmp_path)
    dear = run_small(tmp_path, "fleet.pools.0.usd_per_gpu_hour=5.98")
    free = run_small(tmp_path, "fleet.pools.0.usd_per_gpu_hour=0")
    assert usual.summary["cost_usd"] == pytest.approx(2.99 * usual.summary["gpu_hours"])
    assert dear.summary["cost_usd"] == pytest.approx(2 * usual.summary["cost_usd"])
    assert free.summary["cost_usd"] == 0
    assert usual.digest == dear.digest == free.digest
