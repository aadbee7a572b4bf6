"""The table of a sweep that grows while runs end."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from cluster_sim.study.sweep_stream import RowStream


def test_the_table_follows_the_runs_without_taking_their_time(tmp_path: Path) -> None:
    """The first run is written at once; that took 2 s, so the next table is due 100 s later; rows go by place."""
    times = iter([0.0, 0.0, 0.0, 2.0, 101.0, 102.0, 102.0, 103.0])
    rows: dict[int, dict[str, Any]] = {}
    path = tmp_path / "results.parquet"
    stream = RowStream(path, rows, lambda: next(times))
    for place, written in ((5, [5]), (3, [5]), (4, [3, 4, 5])):
        rows[place] = {"run": place}
        stream.note_end()
        assert pq.read_table(path)["run"].to_pylist() == written
    assert not list(tmp_path.glob("*.partial"))
