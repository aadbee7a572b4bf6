"""Router replicas, each with counts of its own."""

from pathlib import Path

import pyarrow.parquet as pq

from tests.equality import equal_everywhere
from tests.small_run import run_small, small_study


def test_two_routers_take_turns_each(tmp_path: Path) -> None:
    """Two routers see half of the requests each, so that round robin deals every replica two in a row."""
    result = run_small(tmp_path, "router={policy: round_robin, replicas: 2}", "fleet.pools.0.replicas=3")
    replicas = pq.read_table(result.directory / "requests.parquet")["replica"].to_pylist()
    assert replicas[:12] == [0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2]


def test_counts_of_several_routers_are_exact(tmp_path: Path) -> None:
    """Rows and counters are the same in every executor."""
    equal_everywhere(small_study(tmp_path, "router={policy: least_outstanding, replicas: 3}"))
