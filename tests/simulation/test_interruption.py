"""Interrupted runs keep their results so far, in files that can be read."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cluster_sim.config.loading.load import load_study
from cluster_sim.errors import UnfinishedError
from cluster_sim.simulation import inline
from cluster_sim.simulation.run import run_study
from cluster_sim.simulation.run_options import RunOptions
from cluster_sim.simulation.view import SilentView
from tests.small_run import STUDY


class Impatient(SilentView):
    """Interrupts the run, as Ctrl-C does, once 40 requests are done."""

    def progress(self, total_requests: int | None) -> AbstractContextManager[Callable[[int, int], None]]:
        assert total_requests == 150

        def interrupt(_simulated_ns: int, requests_done: int) -> None:
            if requests_done >= 40:
                raise KeyboardInterrupt

        return nullcontext(interrupt)


def test_an_interrupted_run_keeps_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says where; the tables there hold every request that had ended, and the series as it was delivered."""
    monkeypatch.setattr(inline, "LEAST_TICKS", 1)
    monkeypatch.setattr(inline, "SERIES_ROWS", 2)  # Delivered every tick.
    study = tmp_path / "study.yaml"
    study.write_text(STUDY, encoding="utf-8")
    with pytest.raises(UnfinishedError, match=r"interrupted; what was written so far is in .*run\.partial"):
        run_study(load_study(study), RunOptions(executor="inline", out=tmp_path / "run"), Impatient())
    rows = pq.read_table(tmp_path / "run.partial" / "requests.parquet").to_pylist()
    assert 40 <= len(rows) < 150
    assert {row["status"] for row in rows} == {"finished"}
    series = pq.read_table(tmp_path / "run.partial" / "series.parquet").to_pylist()
    last_s = max(row["arrival_s"] for row in rows)
    for replica in (0, 1):
        times_s = [row["time_s"] for row in series if row["replica"] == replica]
        assert times_s == [float(tick) for tick in range(1, len(times_s) + 1)]
        assert 1 <= len(times_s) <= last_s
