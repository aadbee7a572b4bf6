"""A fleet most of which does nothing."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cluster_sim import Result
from tests.small_run import run_small

FEW = ("workload.count=4", "run.series_interval_s=0.01")


def test_rows_do_not_grow_with_replicas_that_do_nothing(tmp_path: Path) -> None:
    """Four requests give the rows of four replicas, in a fleet of 8 and of 32; readers see all replicas."""
    rows = []
    for replicas in (8, 32):
        run = run_small(tmp_path, *FEW, f"fleet.pools.0.replicas={replicas}", "router.policy=round_robin")
        rows.append(pq.read_metadata(run.directory / "series.parquet").num_rows)
        frame = Result.load(run.directory).series
        ticks = frame["time_s"].nunique()
        assert rows[-1] == 4 * ticks
        assert len(frame) == replicas * ticks
        assert frame["replica"].is_monotonic_increasing
        assert (frame["running"] > 0).groupby(frame["replica"]).any().sum() == 4
    assert rows[0] == rows[1]


def test_the_imbalance_counts_replicas_without_rows(tmp_path: Path) -> None:
    """It is that of the table with every row."""
    run = run_small(tmp_path, *FEW, "fleet.pools.0.replicas=9", "router.policy=round_robin")
    frame = Result.load(run.directory).series
    in_flight = (frame["running"] + frame["waiting"]).to_numpy().reshape(9, -1)
    means = in_flight.mean(axis=0)
    is_used = means > 0
    expected = (in_flight.max(axis=0)[is_used] / means[is_used]).mean()
    assert run.summary["imbalance"]["requests_max_over_mean"] == pytest.approx(expected)
