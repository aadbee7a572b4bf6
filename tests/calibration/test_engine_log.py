"""Logs of a running server: what is read of them, and what is left out."""

from pathlib import Path

import pytest

from cluster_sim.calibration.engine_log import is_engine_log, read_engine_log
from cluster_sim.errors import InputError
from tests.calibration.logs import CACHE_TOKENS, HEADER, step_s, table, vllm_log, written


def test_vllms_own_log(tmp_path: Path) -> None:
    """Its lines are found amid others, of the first engine; the size of the cache and the version are in it too."""
    log = read_engine_log(written(tmp_path, vllm_log([10, 10, 11])))
    assert len(log.intervals) == 29
    assert log.intervals[0].step_s == pytest.approx(step_s(10), rel=1e-3)
    assert log.intervals[0].usage_ratio == pytest.approx(0.025, abs=0.0005)
    assert (log.cache_tokens, log.version, log.hit_ratio) == (CACHE_TOKENS, "0.15.1", 0.25)
    assert log.notes == ["engines 001 are left out: ranks of one server are equal"]


def test_gaps_are_left_out(tmp_path: Path) -> None:
    """An interval across a gap of the log is none, and it is counted; nor is an idle one, or the one after it."""
    rows = table([10, 10, 10]).splitlines()
    rows[20] = "20,0,0,0,0,0"
    log = read_engine_log(written(tmp_path, "\n".join([*rows[:5], *rows[10:]])))
    assert len(log.intervals) == 29 - 5 - 3
    assert log.notes[0] == "1 of 24 intervals in which nothing ran is left out"
    assert "1 of 24 intervals across a gap in the log is left out" in log.notes


def test_what_is_no_log(tmp_path: Path) -> None:
    """A table of requests and a result of a benchmark are none; a missing file is none either."""
    assert not is_engine_log(written(tmp_path, "arrival_s,input_tokens,output_tokens,ttft_s,e2e_s\n0,1,1,1,1\n"))
    assert not is_engine_log(written(tmp_path, '{"note": "Avg generation throughput:"}'))
    assert not is_engine_log(tmp_path / "nowhere.log")
    with pytest.raises(InputError, match="has 0 lines of throughput"):
        read_engine_log(written(tmp_path, HEADER))
