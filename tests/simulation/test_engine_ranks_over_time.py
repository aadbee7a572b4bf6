"""Series of data-parallel ranks while replicas join, and after a run has been resumed."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cluster_sim.engine.instant import Instant, Kind, instant, time_of
from cluster_sim.metrics.exposition.exposition import Exposition
from cluster_sim.metrics.exposition.text import TextWriter
from cluster_sim.metrics.live import LiveSnapshot
from cluster_sim.metrics.live_feed import LiveFeed, LiveSource
from cluster_sim.report.openmetrics import Backfill, write_openmetrics
from cluster_sim.simulation.executor import NoCheckpoints, RunOutputs, TakeSnapshot
from cluster_sim.simulation.inline import InlineExecutor
from cluster_sim.simulation.monitor_settings import MonitorSettings
from cluster_sim.simulation.monitoring import RunMonitor
from cluster_sim.simulation.plan import make_plan
from cluster_sim.simulation.run import run_study
from cluster_sim.simulation.run_options import RunOptions
from cluster_sim.simulation.run_snapshot import RunSnapshot
from tests.simulation.test_resume import kill_at_edge
from tests.small_run import small_study

STEP_NS = 500_000_000
JOINING = (
    "fleet.pools.0={name: main, model: qwen3-30b-a3b, device: h100-sxm, data_parallel: 2, replicas: 1}",
    "fleet.pools.0.engine={kind: vllm_v1, num_kv_blocks: 200}",
    "fleet.pools.0.cold_start={process_s: 1, compile_s: 0, warmup_s: 0, weights_gb_per_s: 100}",
    "autoscaler={kind: schedule, max_replicas: 3, entries: [{at_s: 2, replicas: 3}]}",
    "workload.count=120",
    "workload.arrivals={kind: constant, request_rate: 15}",
)
"""One replica of two ranks, and from about 4 s on three."""

Page = dict[str, float]


class OnGrid(RunMonitor):
    """Publishes a snapshot at every multiple of ``STEP_NS``, exactly."""

    _due_ns = STEP_NS

    def pace(self) -> Instant:
        """Let nothing happen above the next one before it is made."""
        return instant(self._due_ns, Kind.SAMPLE)

    def wants_counters(self) -> bool:
        """Ask for counters there."""
        return self._reached >= self.pace()

    def observe(self, clock: Instant, counters: dict[int, Any]) -> None:
        """Publish there alone; a run that is resumed begins with the one that its clock has passed last."""
        if not counters:
            self._due_ns = max(self._due_ns, time_of(clock) // STEP_NS * STEP_NS)
        self._is_collecting = is_due = self.wants_counters() and bool(counters)
        super().observe(clock, counters)
        if is_due:
            self._due_ns += STEP_NS


class Recording(LiveFeed):
    """Keeps every snapshot, under its simulated time in ns."""

    def __init__(self) -> None:
        super().__init__()
        self.snapshots: dict[int, LiveSnapshot] = {}

    def publish(self, snapshot: LiveSnapshot, cost_s: float = 0.0, *, is_last: bool = False) -> None:
        """Keep it, too."""
        super().publish(snapshot, cost_s, is_last=is_last)
        self.snapshots[round(snapshot.simulated_s * 1e9)] = snapshot


@dataclass
class AtEdge(NoCheckpoints):
    """Keeps the state at one window edge, or goes on from one; counts the edges."""

    edge: int = -1
    resumed: RunSnapshot | None = None
    is_active: bool = True
    edges: int = field(default=0, init=False)

    def is_due(self) -> bool:
        """Whether the edge has come."""
        self.edges += 1
        return self.edges == self.edge

    def keep(self, take: TakeSnapshot) -> None:
        """Keep the state."""
        self.resumed = take()


def _pages(folder: Path, checkpoints: AtEdge) -> dict[int, Page]:
    """Run the study and return the counters of its ranks on every page, by simulated time in ns."""
    simulation = make_plan(small_study(folder, *JOINING)).simulation()
    source, feed = LiveSource(), Recording()
    source.feed = feed
    outputs = RunOutputs(checkpoints=checkpoints, monitor=MonitorSettings(is_live=True), live=source)
    InlineExecutor().run(simulation, outputs)
    exposition = Exposition(simulation.metadata, "r")
    return {
        time_ns: dict(_counters(TextWriter().page(exposition.families(snapshot))))
        for time_ns, snapshot in feed.snapshots.items()
    }


def _counters(page: str) -> Iterator[tuple[str, float]]:
    """Yield the series of ranks that never fall: of counters, and of histograms."""
    rising = ("_total", "_bucket", "_count", "_sum")
    for line in page.splitlines():
        series, _, value = line.rpartition(" ")
        if line.startswith("vllm:") and series.partition("{")[0].endswith(rising):
            yield series, float(value)


@pytest.fixture
def undisturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[int, Page], int]:
    """Pages of a run that nothing breaks off, and its window edges."""
    monkeypatch.setattr("cluster_sim.simulation.inline.RunMonitor", OnGrid)
    whole = AtEdge()
    return _pages(tmp_path, whole), whole.edges


def test_ranks_that_join_rise_from_nothing(undisturbed: tuple[dict[int, Page], int]) -> None:
    """Replicas that join have two engines each, from 0 on, and no series of any rank falls."""
    pages, _ = undisturbed
    assert len(pages) > 12
    for (_, earlier), (_, later) in pairwise(sorted(pages.items())):
        assert earlier.keys() <= later.keys()
        assert all(later[series] >= value for series, value in earlier.items())
        assert not any(later[series] for series in later.keys() - earlier.keys())
    first, last = pages[min(pages)], pages[max(pages)]
    tokens = "vllm:generation_tokens_total"
    assert sum(series.startswith(tokens) for series in last) == 6
    assert all(value > 0 for series, value in last.items() if series.startswith(tokens))
    assert sum(value > 0 for series, value in first.items() if series.startswith(tokens)) <= 2


@pytest.mark.parametrize("share", [0.2, 0.7], ids=["before the join", "after it"])
def test_a_resumed_run_shows_the_same_of_every_rank(
    tmp_path: Path, undisturbed: tuple[dict[int, Page], int], share: float
) -> None:
    """Broken off before or after replicas have joined and resumed, a run shows the pages of an undisturbed one."""
    pages, edges = undisturbed
    taken = AtEdge(edge=round(share * edges))
    _pages(tmp_path, taken)
    assert taken.resumed is not None
    resumed = _pages(tmp_path, AtEdge(resumed=taken.resumed._replace(wall_s=1e-6)))
    compared = sorted(resumed.keys() & pages.keys() - {0})
    assert len(compared) >= 3
    assert {time_ns: resumed[time_ns] for time_ns in compared} == {time_ns: pages[time_ns] for time_ns in compared}
    assert max(resumed) == max(pages)


def test_files_of_a_resumed_run_have_the_same_of_every_rank(tmp_path: Path) -> None:
    """Killed and resumed, a run leaves the tables of ranks of an undisturbed one to the byte, and their samples."""
    study = small_study(tmp_path, *JOINING, "run.series_interval_s=0.5")
    left = []
    for name in ("whole", "killed"):
        out = tmp_path / name
        is_killed = name == "killed" and kill_at_edge(study, out, 12)
        assert is_killed == (name == "killed")
        run_study(study, RunOptions(executor="inline", out=out, resumes=is_killed))
        text = write_openmetrics(out, tmp_path / f"{name}.txt", Backfill(step_s=1.0)).read_text(encoding="utf-8")
        samples = [line for line in text.splitlines() if line.startswith("vllm:")]
        assert sum("generation_tokens_total{" in line for line in samples) > 6 * 8
        left.append([samples, *((out / f"rank_{table}.parquet").read_bytes() for table in ("series", "counters"))])
    assert left[0] == left[1]
