"""Tests of the metrics of a finished run."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster_sim.config.loading.canonical import config_hash
from cluster_sim.config.schema.study import Study
from cluster_sim.engine.instant import NEVER, Kind, instant
from cluster_sim.engine.loop import DirectExchange, run_loop
from cluster_sim.errors import InputError
from cluster_sim.metrics.exposition.exposition import Exposition
from cluster_sim.metrics.exposition.text import TextWriter
from cluster_sim.metrics.live_feed import LiveFeed
from cluster_sim.report.openmetrics import EPOCH, LEFT_OUT, Backfill, write_openmetrics
from cluster_sim.simulation.monitor_settings import MonitorSettings
from cluster_sim.simulation.monitoring import RunMonitor
from cluster_sim.simulation.plan import make_plan
from cluster_sim.simulation.run import run_name, run_study
from cluster_sim.simulation.run_options import RunOptions
from cluster_sim.simulation.run_recorder import RunRecorder
from tests.metrics.prometheus_server import (
    PrometheusClient,
    appendix_expressions,
    dashboard_expressions,
    running_prometheus,
)
from tests.small_run import run_small, small_study


@pytest.fixture(scope="module")
def long_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run of 100 simulated seconds."""
    arrivals = "workload.arrivals={kind: constant, request_rate: 10}"
    return run_small(tmp_path_factory.mktemp("openmetrics"), "workload.count=1000", arrivals).directory


def _last(text: str, name: str) -> float:
    found = re.findall(rf"^{re.escape(name)}(?:\{{[^}}]*\}})? (\S+) \S+$", text, flags=re.MULTILINE)
    return float(found[-1])


def _at(text: str, time_s: float) -> dict[str, float]:
    """Return every sample at a simulated time, by its series."""
    stamp = f" {EPOCH.timestamp() + time_s:.3f}"
    lines = (line.removesuffix(stamp) for line in text.splitlines() if line.endswith(stamp))
    return {series: float(value) for series, _, value in (line.rpartition(" ") for line in lines)}


def _page_at(study: Study, time_s: float) -> dict[str, float]:
    """Run a study with a snapshot at ``time_s`` and return that page, by series."""
    feed = LiveFeed()
    simulation = make_plan(study).simulation()
    exposition = Exposition(
        simulation.metadata, run_name(study), {"name": study.name, "config_hash": config_hash(study)}
    )
    limit = instant(round(time_s * 1e9), Kind.SAMPLE)

    class Stopper(RunMonitor):
        """Lets nothing happen above the limit before the snapshot is made."""

        page: str = ""

        def pace(self) -> int:
            return NEVER if self.page else limit

        def wants_counters(self) -> bool:
            return not self.page and self._reached >= limit

        def observe(self, clock: int, counters: Any) -> None:
            is_due = not self.page and self.wants_counters() and bool(counters)
            self._is_collecting = is_due
            super().observe(clock, counters)
            if is_due:
                latest = feed.latest()
                self.page = TextWriter().page(exposition.families(latest.snapshot))

    with RunRecorder(simulation.metadata) as recorder:
        processes = simulation.build_processes(recorder.log)
        settings = MonitorSettings(is_live=True)
        stopper = Stopper(settings, simulation, processes.hub, recorder, lambda *_: None, feed)
        run_loop(processes.hub, processes.coordinator, DirectExchange(processes.groups), stopper)
    lines = (line for line in stopper.page.splitlines() if not line.startswith("#"))
    return {series: float(value) for series, _, value in (line.rpartition(" ") for line in lines)}


UNKNOWN = (
    "cluster_sim_wall",
    "cluster_sim_speedup",
    "cluster_sim_protocol",
    "cluster_sim_busy",
    "sglang:gen",
    "sglang_gen",
)
"""What live metrics measure on the wall clock, between two looks, or what the files know the end of alone."""


RANKED = (
    "fleet.pools=[{name: main, model: qwen3-30b-a3b, device: h100-sxm, data_parallel: 2, replicas: 2}, "
    "{name: single, model: qwen3-30b-a3b, device: h100-sxm}]"
)
"""A pool with ranks, and one without."""


@pytest.mark.parametrize(
    ("engine", "more"),
    [("vllm_v1", ()), ("sglang", ()), ("vllm_v1", (RANKED,)), ("sglang", (RANKED,))],
    ids=["vllm", "sglang", "ranks of vllm", "ranks of sglang"],
)
def test_backfill_equals_live(tmp_path: Path, engine: str, more: tuple[str, ...]) -> None:
    """At one simulated time the file has the very samples that the run's live page has, prefix hits and all."""
    overrides = (
        *more,
        f"fleet.pools.0.engine.kind={engine}",
        "fleet.pools.0.engine.num_kv_blocks=300",
        "fleet.network.router_to_replica_ms=0",
    )
    study = small_study(tmp_path, *overrides)
    run = run_study(study, RunOptions(executor="inline", out=tmp_path / "run"))
    file = write_openmetrics(run.directory, tmp_path / "openmetrics.txt", Backfill(step_s=1.0))
    ours = _at(file.read_text(encoding="utf-8"), 4.0)
    theirs = _page_at(study, 4.0)
    skipped = (*LEFT_OUT, *UNKNOWN)
    compared = [series for series in theirs if not series.startswith(skipped)]
    assert len(compared) > 300
    differing = {
        series: (ours.get(series), theirs[series])
        for series in compared
        if ours.get(series) != pytest.approx(theirs[series])
    }
    assert differing == {}


def test_live_pages_name_adapters(tmp_path: Path) -> None:
    """In the middle of a run a replica's page names the adapters of its running requests."""
    overrides = ("fleet.pools.0.engine.lora={max_loras: 2}", "workload.traits.lora_pool=3")
    page = _page_at(small_study(tmp_path, *overrides), 4.0)
    found = [re.findall(r'_adapters="([^"]*)"', series) for series in page if series.startswith("vllm:lora_requests")]
    assert len(found) == 2
    named = {name for pair in found for names in pair for name in names.split(",") if name}
    assert named
    assert named <= {"lora-0", "lora-1", "lora-2"}
    assert all(len(running.split(",")) <= 2 for _, running in found)


def test_file_is_openmetrics_and_ends_where_the_run_ends(long_run: Path, tmp_path: Path) -> None:
    """Families and label sets are contiguous, times rise, and the last samples count every request."""
    text = write_openmetrics(long_run, tmp_path / "openmetrics.txt").read_text(encoding="utf-8")
    assert text.endswith("\n# EOF\n")
    families = re.findall(r"^# TYPE (\S+) (\S+)$", text, flags=re.MULTILINE)
    assert len(families) == len(set(families))
    assert ("vllm:generation_tokens", "counter") in families
    assert ("vllm:iteration_tokens_total", "histogram") in families
    seen: list[tuple[str, str]] = []
    stamps: list[float] = []
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        series, _, stamp = line.rsplit(" ", 2)
        labels = re.sub(r',?le="[^"]*"', "", series.partition("{")[2])
        key = re.sub(r"_(bucket|sum|count)$", "", series.partition("{")[0]), labels
        if not seen or seen[-1] != key:
            seen.append(key)
            stamps = []
        stamps.append(float(stamp) - EPOCH.timestamp())
        assert stamps[-1] == max(stamps)
    assert len(seen) == len(set(seen))
    assert sorted(set(stamps))[:4] == [0.0, 5.0, 10.0, 15.0]
    summary = json.loads((long_run / "summary.json").read_text())
    assert stamps[-1] == pytest.approx(summary["simulated_s"], abs=0.001)
    assert "} " in text
    assert [line for line in text.splitlines() if not line.startswith("#") and 'run="small-' not in line] == []
    assert _last(text, "cluster_sim_requests_in_system") == 0
    finished = re.findall(r'^cluster_sim_requests_total\{[^}]*state="finished"\} (\d+) ', text, flags=re.MULTILINE)
    assert [finished[0], finished[-1]] == ["0", "1000"]


@contextmanager
def _backfilled(run: Path, tmp_path: Path) -> Iterator[PrometheusClient]:
    """Run a Prometheus that has the metrics of a finished run."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool (Debian package prometheus)")
    file = write_openmetrics(run, tmp_path / "openmetrics.txt")
    subprocess.run(
        [promtool, "tsdb", "create-blocks-from", "openmetrics", str(file), str(tmp_path / "tsdb")],
        check=True,
        capture_output=True,
    )
    with running_prometheus(tmp_path, 1) as prometheus:
        yield prometheus


def test_sglang_dashboard_is_full(shared: Path, tmp_path: Path) -> None:
    """Backfilled, every expression of SGLang's public dashboard has finite data for a pool of its engine."""
    arrivals = "workload.arrivals={kind: constant, request_rate: 10}"
    run = run_small(tmp_path, "workload.count=1000", arrivals, "fleet.pools.0.engine={kind: sglang}").directory
    reference = shared / "reference" / "ecosystem.md"
    expressions = appendix_expressions(reference, "sglang__sglang-dashboard.json", "llama-3-8b")
    assert len(expressions) == 14
    with _backfilled(run, tmp_path) as prometheus:
        assert prometheus.lacking(expressions, EPOCH.timestamp() + 90) == []


def test_unmodified_dashboards_show_true_rates(checkout: Path, long_run: Path, shared: Path, tmp_path: Path) -> None:
    """Backfilled into a real Prometheus, vLLM's dashboards and ours are full, and rates are those of the fleet."""
    ours = checkout / "conf" / "grafana" / "dashboards"
    files = [*(shared / "dashboards").glob("vllm__*.json"), *ours.glob("*.json")]
    assert len(files) == 7
    expressions = [expression for path in files for expression in dashboard_expressions(path, "llama-3-8b")]
    at_s = EPOCH.timestamp() + 90
    with _backfilled(long_run, tmp_path) as prometheus:
        assert prometheus.lacking(expressions, at_s) == []
        increase = sum(prometheus.query("increase(vllm:generation_tokens_total[1m])", at_s))
    series = pq.read_table(long_run / "series.parquet")
    in_minute = pa.compute.and_(
        pa.compute.greater(series["time_s"], 30.0), pa.compute.less_equal(series["time_s"], 90.0)
    )
    assert increase == pytest.approx(pa.compute.sum(series.filter(in_minute)["generated_tokens"]).as_py())


def test_run_without_series_is_refused(tmp_path: Path) -> None:
    """A run that kept no series, or ended before its first tick, gives one message that says how to get one."""
    for interval_s in (0, 3600):
        bare = run_small(tmp_path, f"run.series_interval_s={interval_s}", "workload.count=20").directory
        with pytest.raises(InputError, match="series_interval_s above 0 and shorter than the run"):
            write_openmetrics(bare)
    assert not list(bare.glob("openmetrics*"))
