"""Data-parallel ranks as engines: their figures, requests and series."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from cluster_sim.engine.instant import NEVER, Kind, instant
from cluster_sim.engine.loop import DirectExchange, run_loop
from cluster_sim.metrics.exposition.exposition import Exposition
from cluster_sim.metrics.exposition.text import TextWriter
from cluster_sim.metrics.live import LiveSnapshot
from cluster_sim.metrics.live_feed import LiveFeed
from cluster_sim.simulation.executor import RunOutcome, RunOutputs
from cluster_sim.simulation.inline import InlineExecutor
from cluster_sim.simulation.monitor_settings import MonitorSettings
from cluster_sim.simulation.monitoring import RunMonitor
from cluster_sim.simulation.plan import make_plan
from cluster_sim.simulation.run_recorder import RunRecorder, new_totals
from cluster_sim.simulation.simulation import Simulation
from tests.small_run import run_small, small_study

POOL = (
    "fleet.pools.0={{name: main, model: qwen3-30b-a3b, device: h100-sxm, data_parallel: 2, replicas: 2, "
    "engine: {{kind: {kind}, num_kv_blocks: {blocks}}}}}"
)
TIGHT = "workload.arrivals={kind: poisson, request_rate: 60}"
SUMMED = (
    *("prompt_tokens", "generated_tokens", "preemptions", "prefix_queries_tokens", "prefix_hits_tokens"),
    *("itl_sum_ns", "itl_counts", "drafts", "first_tokens"),
)
"""Figures of a replica that are the sums of its ranks'; iterations are not, since ranks step together."""

SERIES = (
    *("running", "waiting", "kv_used_blocks", "prompt_tokens", "generated_tokens", "preemptions"),
    *("prefix_queries_tokens", "prefills", "prefilled_tokens"),
)


def _simulation(folder: Path, kind: str, blocks: int, *overrides: str) -> Simulation:
    return make_plan(small_study(folder, POOL.format(kind=kind, blocks=blocks), TIGHT, *overrides)).simulation()


def _check_sums(outcome: RunOutcome) -> None:
    for replica in outcome.replicas:
        assert len(replica.ranks) == 2
        for name in SUMMED:
            ranks = np.sum([getattr(rank, name) for rank in replica.ranks], axis=0)
            assert ranks.tolist() == np.array(getattr(replica.counters, name)).tolist(), name
        assert max(rank.iterations for rank in replica.ranks) <= replica.counters.iterations
        assert min(rank.generated_tokens for rank in replica.ranks) > 0


@pytest.mark.parametrize(
    ("kind", "blocks", "more"),
    [
        ("vllm_v1", 130, ""),
        ("sglang", 200, ""),
        ("vllm_v1", 130, "faults=[{kind: crash, replicas: [1], at_s: 1.5, duration_s: 1}]"),
    ],
    ids=["preemptions", "sglang", "a crash"],
)
def test_sums_over_ranks_are_the_replicas_figures(tmp_path: Path, kind: str, blocks: int, more: str) -> None:
    """Tokens, gaps, preemptions, look-ups and first tokens of the ranks make those of their replica, in macro-steps and
    in single ones, and the latter give each rank the same figures.
    """
    overrides = [more] if more else []
    counted = []
    for macro in ("true", "false"):
        simulation = _simulation(tmp_path, kind, blocks, f"run.macro_steps={macro}", *overrides)
        outcome = InlineExecutor().run(simulation, RunOutputs())
        _check_sums(outcome)
        counted.append([replica.ranks for replica in outcome.replicas])
        totals = new_totals(simulation.metadata)
        totals.restore(outcome.hub.totals)
        assert totals.by_rank is not None
        assert (
            totals.by_rank.replica_statuses.reshape(2, 2, -1).sum(axis=1).tolist() == totals.replica_statuses.tolist()
        )
        assert totals.by_rank.sums.reshape(2, 2, -1).sum(axis=1).tolist() == totals.sums.tolist()
        assert totals.by_rank.sums[:, 0].min() > 0
    assert counted[0] == counted[1]
    if kind == "vllm_v1":
        assert sum(rank.preemptions for ranks in counted[0] for rank in ranks) > 0


def _look(simulation: Simulation, time_s: float) -> LiveSnapshot:
    """Return the snapshot of a run at ``time_s``."""
    feed, limit = LiveFeed(), instant(round(time_s * 1e9), Kind.SAMPLE)

    class Stopper(RunMonitor):
        """Lets nothing happen above the limit before the snapshot is made."""

        is_over = False

        def pace(self) -> int:
            return NEVER if self.is_over else limit

        def wants_counters(self) -> bool:
            return not self.is_over and self._reached >= limit

        def observe(self, clock: int, counters: dict[int, Any]) -> None:
            self._is_collecting = is_due = not self.is_over and bool(counters)
            super().observe(clock, counters)
            self.is_over = self.is_over or is_due

    with RunRecorder(simulation.metadata) as recorder:
        processes = simulation.build_processes(recorder.log)
        stopper = Stopper(MonitorSettings(is_live=True), simulation, processes.hub, recorder, lambda *_: None, feed)
        run_loop(processes.hub, processes.coordinator, DirectExchange(processes.groups), stopper)
    published = feed.latest()
    assert published is not None
    return published.snapshot


@pytest.mark.parametrize("kind", ["vllm_v1", "sglang"])
def test_every_rank_is_an_engine(tmp_path: Path, kind: str) -> None:
    """A live page has the server's series for every rank, as vLLM numbers them, and the simulation's for every replica;
    running, waiting, blocks and requests of the ranks make those of their replicas.
    """
    simulation = _simulation(tmp_path, kind, 400)
    snapshot = _look(simulation, 1.7)
    by_rank = snapshot.by_rank
    assert by_rank is not None
    for name in ("present", "running", "waiting", "kv_used_blocks", "generated_tokens", "prompt_tokens"):
        sums = by_rank.engines.figure(name).reshape(2, 2).sum(axis=1)
        scale = 2 if name == "present" else 1
        assert sums.tolist() == (scale * snapshot.engines.figure(name)).tolist(), name
    assert snapshot.engines.figure("running").min() > 0
    assert by_rank.requests.sums.reshape(2, 2, -1).sum(axis=1).tolist() == snapshot.requests.sums.tolist()
    page = TextWriter().page(Exposition(simulation.metadata, "r").families(snapshot))
    name = "vllm:generation_tokens_total" if kind == "vllm_v1" else "sglang:generation_tokens_total"
    lines = [line for line in page.splitlines() if line.startswith(name + "{")]
    values = by_rank.engines.figure("generated_tokens").tolist()
    assert len(lines) == 4
    for line, number, value in zip(lines, range(4), values, strict=True):
        assert f'engine="{number % 2}"' in line
        assert f'replica="{number // 2}"' in line
        assert ('dp_rank="' in line) == (kind == "sglang")
        assert line.endswith(f" {value}")
    assert page.count("cluster_sim_engine_steps_total{") == 2


def test_series_of_ranks_make_those_of_replicas(tmp_path: Path) -> None:
    """At every tick the ranks' rows add up to their replica's, in macro-steps and in single ones alike."""
    tables = []
    for macro in ("true", "false"):
        overrides = (f"run.macro_steps={macro}", "run.series_interval_s=0.25")
        run = run_small(tmp_path, POOL.format(kind="vllm_v1", blocks=130), TIGHT, *overrides).directory
        ranks, replicas = (pq.read_table(run / f"{name}.parquet") for name in ("rank_series", "series"))
        tables.append(ranks)
        by_tick = ranks.group_by(["replica", "time_s"]).aggregate([(name, "sum") for name in SERIES])
        by_tick = by_tick.sort_by([("replica", "ascending"), ("time_s", "ascending")])
        assert by_tick.column("time_s").to_pylist() == replicas.column("time_s").to_pylist()
        for name in SERIES:
            assert by_tick.column(f"{name}_sum").to_pylist() == replicas.column(name).to_pylist(), name
    assert tables[0].equals(tables[1])
    assert set(tables[0].column("rank").to_pylist()) == {0, 1}
    assert not (run_small(tmp_path).directory / "rank_series.parquet").exists()


def test_rows_name_the_rank(tmp_path: Path) -> None:
    """Finished and cancelled requests have the rank that took them; a replica without ranks has none."""
    patience = "router.client_timeout_s=2"
    ranked = run_small(tmp_path, POOL.format(kind="vllm_v1", blocks=130), TIGHT, patience).directory
    table = pq.read_table(ranked / "requests.parquet", columns=["rank", "status", "replica"]).to_pylist()
    assert {row["status"] for row in table} == {"finished", "cancelled"}
    assert {row["rank"] for row in table} == {0, 1}
    alone = pq.read_table(run_small(tmp_path).directory / "requests.parquet", columns=["rank"])
    assert alone.column("rank").null_count == len(alone)
