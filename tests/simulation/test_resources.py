"""Disk and memory of a run: estimates, and warnings before either runs out."""

from pathlib import Path

import pyarrow.parquet as pq

from cluster_sim.simulation.memory import Memory
from cluster_sim.simulation.plan import make_plan
from cluster_sim.simulation.resources import Needs, expected_duration_s, needs_of, shortages
from tests.small_run import run_small, small_study


def test_estimates_are_of_the_size_of_what_is_written(tmp_path: Path) -> None:
    """Tables of 3,000 requests and two replicas take between a third of the estimate and the estimate."""
    overrides = ("workload.count=3000", "run.series_interval_s=0.1")
    directory = run_small(tmp_path, *overrides).directory
    simulation = make_plan(small_study(tmp_path, *overrides)).simulation()
    duration_s = pq.read_table(directory / "series.parquet", columns=["time_s"])["time_s"].to_numpy().max()
    estimate = needs_of(simulation, float(duration_s)).disk_bytes
    written = sum((directory / name).stat().st_size for name in ("requests.parquet", "series.parquet"))
    assert estimate / 3 < written < estimate


def test_expected_durations(tmp_path: Path) -> None:
    """The end of the run, the end of arrivals, or requests over their rate: whichever comes first."""
    study = small_study(tmp_path)
    assert expected_duration_s(study, 150) == 150 / 20
    assert expected_duration_s(study, None) is None
    assert expected_duration_s(small_study(tmp_path, "run.end_s=3"), 150) == 3
    assert expected_duration_s(small_study(tmp_path, "workload.duration_s=2"), 150) == 2


def test_shortages_are_named(tmp_path: Path) -> None:
    """What is not there is named with what needs less; what suffices is not."""
    memory = Memory(8 << 30, 1 << 30)
    assert shortages(Needs(1000, 1000), tmp_path / "a" / "b", memory) == []
    disk, space = shortages(Needs(10**18, 2 << 30), tmp_path / "a" / "b", memory)
    assert disk.startswith("the run will write about 1000000000.0 GB, and ")
    assert f"{tmp_path} has " in disk
    assert space.startswith("the run will take about 2.1 GB of memory, and 1.1 GB are free: fewer replicas")
