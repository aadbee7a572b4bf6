"""Tests of ``series.parquet``."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from cluster_sim.errors import InputError
from cluster_sim.output.series_table import SeriesTable
from cluster_sim.recording.buckets import TTFT_GRID_S
from cluster_sim.recording.replica_log import ReplicaLog

S = 1_000_000_000


def test_series_of_replicas_come_back(tmp_path: Path) -> None:
    """Rows carry pool, replica and KV use as a ratio; the most waiting at any tick is known."""
    table = SeriesTable(tmp_path / "series.parquet", ["a", "b"], [0, 1], [100, 200])
    for replica in (0, 1):
        log = ReplicaLog(S)
        log.step(S // 2, 0, 0, 20, 1, 30)
        log.first_tokens.note(S // 2, S // 4, 30, 8, 2)
        log.preemptions = 2
        log.tick(S, running=1, waiting=replica * 4, kv_used_blocks=50)
        log.tick(2 * S, running=0, waiting=0, kv_used_blocks=0)
        table.add(replica, log.take_series())
    table.add(1, {name: np.zeros(0, np.int64) for name in log.take_series()})
    table.close()
    rows = pq.read_table(tmp_path / "series.parquet").to_pylist()
    assert len(rows) == 4
    assert rows[2] == {
        "time_s": 1.0, "pool": "b", "replica": 1, "running": 1, "waiting": 4, "kv_used_blocks": 50,
        "kv_used_ratio": 0.25, "iterations": 1, "prompt_tokens": 20, "generated_tokens": 1,
        "itl_sum_s": 0.0, "itl_counts": [0] * 20, "iteration_tokens_counts": [0, 0, 0, 1] + [0] * 10,
        "preemptions": 2, "prefix_queries_tokens": 0, "prefix_hits_tokens": 0, "loaded_queries_tokens": 0,
        "loaded_hits_tokens": 0, "prefills": 1, "prefilled_tokens": 30, "prefilled_cached_tokens": 8,
        "prefilled_external_tokens": 2, "ttft_sum_s": 0.25,
        "ttft_counts": [*(int(bound == 0.25) for bound in TTFT_GRID_S), 0],
        "drafts": 0, "draft_tokens": 0, "accepted_tokens": 0,
    }  # fmt: skip
    assert table.max_waiting == 4


def test_the_file_does_not_depend_on_the_order_of_delivery(tmp_path: Path) -> None:
    """One replica stands after the other, its rows in the order of time, with the same bytes however they arrived."""
    files = []
    for turns in ([0, 1, 0, 1], [1, 0, 0, 1], [1, 1, 0, 0]):
        path = tmp_path / f"{len(files)}.parquet"
        table = SeriesTable(path, ["a", "b"], [0, 1], [100, 200])
        logs = [ReplicaLog(S), ReplicaLog(S)]
        ticks = [0, 0]
        for replica in turns:
            ticks[replica] += 1
            logs[replica].tick(ticks[replica] * S, running=replica, waiting=ticks[replica], kv_used_blocks=0)
            table.add(replica, logs[replica].take_series())
        table.close()
        read = pq.read_table(path)
        assert read.column("replica").to_pylist() == [0, 0, 1, 1]
        assert read.column("time_s").to_pylist() == [1.0, 2.0, 1.0, 2.0]
        files.append(path.read_bytes())
    assert files[1:] == files[:1] * 2


def test_missing_and_damaged_parts_are_wrong_input(tmp_path: Path) -> None:
    """What a snapshot needs and is not there, or is not what was written, is named with what to do."""
    path = tmp_path / "series.parquet"
    part = tmp_path / "series-00001.parquet"
    log = ReplicaLog(S, 1)
    log.tick(S, running=0, waiting=0, kv_used_blocks=0)
    table = SeriesTable(path, ["a"], [0], [100])
    table.add(0, log.take_series())
    digests = table.end_part()
    advice = rf"the snapshot needs it; to begin the run again, remove {tmp_path} and leave out --resume"
    good = part.read_bytes()
    for content in (b"", good[:-1], good[:60] + bytes([good[60] ^ 1]) + good[61:]):
        part.write_bytes(content)
        with pytest.raises(InputError, match=rf"series-00001\.parquet: is damaged.*{advice}"):
            list(table.replay(digests))
    part.unlink()
    with pytest.raises(InputError, match=rf"series-00001\.parquet: is missing.*{advice}"):
        list(table.replay(digests))
    part.write_bytes(good)
    ((replica, columns),) = table.replay(digests)
    assert (replica, columns["time_ns"].tolist()) == (0, [S])
    table.close()


def test_series_of_ranks_have_a_file_of_their_own(tmp_path: Path) -> None:
    """What ranks record goes through the parts of a broken run as that of replicas does, and ends in its own table."""
    log = ReplicaLog(S)
    log.ranks = (ReplicaLog(S), ReplicaLog(S))
    for each in (log, *log.ranks):
        each.enter(0)
    log.ranks[1].step(S // 2, 0, 0, 7, 1)
    log.step(S // 2, 0, 0, 7, 1)
    for running, each in enumerate((log, *log.ranks)):
        each.tick(S, running, waiting=9, kv_used_blocks=0)
    earlier = SeriesTable(tmp_path / "series.parquet", ["a"], [0, 0, 0, 0], [100] * 4)
    for key, columns in log.take_all_series(3):
        earlier.add(key, columns)
    parts = earlier.end_part()
    table = SeriesTable(tmp_path / "series.parquet", ["a"], [0, 0, 0, 0], [100] * 4)
    for key, columns in table.replay(parts):
        table.add(key, columns)
    assert table.max_waiting == 9
    table.close()
    rows = pq.read_table(tmp_path / "series.parquet", columns=["replica", "running", "generated_tokens"]).to_pylist()
    assert rows == [{"replica": 3, "running": 0, "generated_tokens": 1}]
    names = ["pool", "replica", "rank", "running", "generated_tokens"]
    rows = [tuple(row.values()) for row in pq.read_table(tmp_path / "rank_series.parquet", columns=names).to_pylist()]
    assert rows == [("a", 3, 0, 1, 0), ("a", 3, 1, 2, 1)]
