"""Tests of the metrics of a finished run."""

import re
import shutil
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster_sim.errors import InputError
from cluster_sim.report.openmetrics import EPOCH, write_openmetrics
from tests.metrics.prometheus_server import dashboard_expressions, running_prometheus
from tests.small_run import run_small


@pytest.fixture(scope="module")
def long_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run of 100 simulated seconds."""
    arrivals = "workload.arrivals={kind: constant, request_rate: 10}"
    return run_small(tmp_path_factory.mktemp("openmetrics"), "workload.count=1000", arrivals).directory


def _last(text: str, name: str) -> float:
    found = re.findall(rf"^{re.escape(name)}(?:\{{[^}}]*\}})? (\S+) \S+$", text, flags=re.MULTILINE)
    return float(found[-1])


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
    assert _last(text, "cluster_sim_requests_in_system") == 0
    finished = re.findall(r'^cluster_sim_requests_total\{state="finished"\} (\d+) ', text, flags=re.MULTILINE)
    assert [finished[0], finished[-1]] == ["0", "1000"]


def test_unmodified_dashboard_shows_true_rates(long_run: Path, shared: Path, tmp_path: Path) -> None:
    """Backfilled into a real Prometheus, vLLM's dashboard is full and rates are those of the simulated fleet."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool (Debian package prometheus)")
    file = write_openmetrics(long_run, tmp_path / "openmetrics.txt")
    subprocess.run(
        [promtool, "tsdb", "create-blocks-from", "openmetrics", str(file), str(tmp_path / "tsdb")],
        check=True,
        capture_output=True,
    )
    expressions = dashboard_expressions(shared / "dashboards" / "vllm__grafana.json", "llama-3-8b")
    at_s = EPOCH.timestamp() + 90
    with running_prometheus(tmp_path, 1) as prometheus:
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
