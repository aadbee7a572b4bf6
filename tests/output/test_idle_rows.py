"""Tests of the rows that the series leave out."""

from pathlib import Path

import pyarrow.parquet as pq

from cluster_sim.output.idle_rows import IdleReplicas, read_series
from cluster_sim.output.series_table import SeriesTable
from cluster_sim.recording.replica_log import ReplicaLog

S = 1_000_000_000


def test_neighbours_of_a_pool_are_one_entry() -> None:
    """Replicas 0, 1 and 3 of one pool and 4 of the next make three entries, which list the same replicas again."""
    idle = IdleReplicas.of(S, 7, [("a", 0), ("a", 1), ("a", 3), ("b", 4)])
    assert idle.replicas == (("a", 0, 2), ("a", 3, 1), ("b", 4, 1))
    assert idle.numbers.tolist() == [0, 1, 3, 4]
    assert IdleReplicas.from_metadata(idle.to_metadata()) == idle
    assert IdleReplicas.from_metadata(None).numbers.tolist() == []


def test_readers_get_the_rows_that_are_left_out(tmp_path: Path) -> None:
    """Of four replicas one has rows; the table read has those of all, in order, and the file has two."""
    path = tmp_path / "series.parquet"
    table = SeriesTable(path, ["a", "b"], [0, 0, 1, 1], [100] * 4)
    log = ReplicaLog(S)
    log.enter(0)
    log.step(S // 2, 0, 0, 20, 1)
    log.ticks(S, S, 2, 1, 0, 50)
    table.add(2, log.take_series())
    table.note_idle(S, 2)
    table.close()
    assert pq.read_metadata(path).num_rows == 2
    rows = read_series(path).to_pylist()
    assert [(row["replica"], row["pool"], row["time_s"]) for row in rows] == [
        (0, "a", 1.0), (0, "a", 2.0), (1, "a", 1.0), (1, "a", 2.0), (2, "b", 1.0), (2, "b", 2.0), (3, "b", 1.0),
        (3, "b", 2.0),
    ]  # fmt: skip
    assert rows[4]["iterations"] == 1
    assert rows[6] | {"replica": 0, "pool": "a", "time_s": 1.0} == rows[0]
    assert sum(rows[0]["itl_counts"]) == rows[0]["running"] == rows[0]["kv_used_ratio"] == 0
    assert read_series(path, ["running"]).column("running").to_pylist() == [0, 0, 0, 0, 1, 1, 0, 0]
