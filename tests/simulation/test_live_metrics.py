"""Acceptance of live metrics on real paced runs."""

import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.metrics.metrics_options import MetricsOptions
from cluster_sim.simulation.run import run_study
from cluster_sim.simulation.run_options import RunOptions
from tests.metrics.prometheus_server import (
    GUARD_S,
    appendix_expressions,
    dashboard_expressions,
    running_prometheus,
)

STUDY = """
name: paced
workload:
  kind: synthetic
  count: 400
  arrivals: {kind: poisson, request_rate: 20}
  lengths: {prompt: {kind: uniform, min: 100, max: 900}, output: {kind: uniform, min: 20, max: 60}}
fleet:
  pools: [{name: main, model: llama-3-8b, device: h100-sxm, replicas: 2, engine: {kind: ENGINE}}]
router: {policy: least_outstanding}
run: {series_interval_s: 0.01}
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _running(checkout: Path, tmp_path: Path, text: str, port: int, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a study with live metrics until the block ends."""
    study = tmp_path / "study.yaml"
    study.write_text(text, encoding="utf-8")
    command = [
        *(sys.executable, "-m", "cluster_sim", "run", str(study), "--metrics-port", str(port)),
        *("--out", str(tmp_path / "run"), *options),
    ]
    with (tmp_path / "run.log").open("wb") as log:
        run = subprocess.Popen(command, cwd=checkout, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield run
        finally:
            if run.poll() is None:
                run.terminate()
            run.wait(timeout=60)


def _page(port: int) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        text = response.read().decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _sum(page: dict[tuple[str, frozenset[tuple[str, str]]], float], series: str, /, **labels: str) -> float:
    return sum(value for (name, own), value in page.items() if name == series and labels.items() <= dict(own).items())


def _generated(tmp_path: Path, until_s: float) -> int:
    """Return the tokens generated up to a simulated time, by the run's own series."""
    series = pq.read_table(tmp_path / "run" / "series.parquet", columns=["time_s", "generated_tokens"])
    return int(series.filter(pc.field("time_s") <= until_s + 1e-9)["generated_tokens"].to_numpy().sum())


@pytest.mark.parametrize(
    ("executor", "engine"),
    [
        ("inline", "vllm_v1"),
        pytest.param("inline", "sglang", marks=pytest.mark.acceptance),
        pytest.param("ray", "vllm_v1", marks=pytest.mark.ray),
        pytest.param("ray", "sglang", marks=[pytest.mark.ray, pytest.mark.acceptance]),
    ],
)
def test_prometheus_sees_a_run_to_its_end(
    checkout: Path, shared: Path, tmp_path: Path, executor: str, engine: str
) -> None:
    """While a paced run goes on, every expression of the servers' dashboards and of ours has finite data in Prometheus;
    recorded rates are true; and the last scrape has what the summary says.
    """
    port = _free_port()
    names = sorted((shared / "dashboards").glob("vllm__*.json")) if engine == "vllm_v1" else []
    dashboards = [*names, *sorted((checkout / "conf" / "grafana" / "dashboards").glob("*.json"))]
    expressions = [expression for path in dashboards for expression in dashboard_expressions(path, "llama-3-8b")]
    public = "sglang__sglang-dashboard" if engine == "sglang" else "production-stack__vllm-model-metrics-dashboard"
    listed = appendix_expressions(shared / "reference" / "ecosystem.md", f"{public}.json", "llama-3-8b")
    assert len(listed) == (14 if engine == "sglang" else 27)
    expressions += listed
    rules = checkout / "conf" / "prometheus" / "rules.yml"
    options = ("--executor", executor, "--speedup", "2.5")
    requests = 800
    text = STUDY.replace("ENGINE", engine).replace("count: 400", f"count: {requests}")
    with (
        running_prometheus(tmp_path, port, rules) as prometheus,
        _running(checkout, tmp_path, text, port, *options) as run,
    ):
        recorded = "cluster_sim:generation_tokens:rate1m"
        # The log says why a run fails; a cluster may take a minute to start.
        assert run.wait(timeout=GUARD_S) == 0, (tmp_path / "run.log").read_text()
        summary = json.loads((tmp_path / "run" / "summary.json").read_text())
        # What was seen at each scrape is asked for afterwards, at its time: how fast answers come does not matter.
        scrapes, finished = prometheus.scrapes(), 'cluster_sim_requests_total{state="finished"}'
        under_way = [at_s for at_s in scrapes if 0 < sum(prometheus.query(finished, at_s)) < requests]
        lacking = expressions
        for at_s in reversed(under_way[2:]):
            lacking = prometheus.lacking(expressions, at_s)
            if not lacking:
                break
        assert lacking == [], scrapes
        # A run that a busy machine held up catches up.
        speedups = [prometheus.query("cluster_sim_speedup_ratio", at_s)[0] for at_s in under_way]
        assert pytest.approx(2.5, rel=0.3) in speedups, speedups
        # The target is gone, and with it the series: the last scrape is behind them.
        names, end = "vllm" if engine == "vllm_v1" else "sglang", scrapes[-1]
        assert prometheus.query(finished, end) == [requests]
        generated = sum(prometheus.query(f"{names}:generation_tokens_total", end))
        assert generated == summary["whole_run"]["output_tokens"]
        assert sum(prometheus.query(f"{names}:time_to_first_token_seconds_count", end)) == requests
        end_s = summary["simulated_s"]
        assert prometheus.query("cluster_sim_time_seconds", end) == [pytest.approx(end_s)]
        assert prometheus.query("cluster_sim_requests_in_system", end) == [0]
        points = prometheus.points(recorded, time.time() - scrapes[0])
        assert points
        assert all(math.isfinite(value) for value in points)
        (rule,) = (
            rule for rule in yaml.safe_load(rules.read_text())["groups"][0]["rules"] if rule["record"] == recorded
        )
        assert "[1m]" in rule["expr"]
        times_s = [prometheus.query("cluster_sim_time_seconds", at_s)[0] for at_s in scrapes]
        tokens = [sum(prometheus.query(f"{names}:generation_tokens_total", at_s)) for at_s in scrapes]
        for number in range(max(len(scrapes) - 5, 2), len(scrapes)):  # Wherever it is looked at:
            first = next(first for first, at_s in enumerate(scrapes) if at_s > scrapes[number] - 60)
            if times_s[first] == times_s[number]:
                continue  # It had not begun in that minute, or was scraped once.
            # the rate is that of what was scraped, which is what was generated between the first scrape and then.
            passed_s = times_s[number] - times_s[first]
            rate = prometheus.query(rule["expr"], scrapes[number])
            assert rate == [pytest.approx((tokens[number] - tokens[first]) / passed_s)]
            true = (_generated(tmp_path, times_s[number]) - _generated(tmp_path, times_s[first])) / passed_s
            assert rate == [pytest.approx(true, rel=0.02)]


DRAIN = """
workload:
  kind: synthetic
  count: 10
  arrivals: {kind: constant, request_rate: 10}
  lengths: {prompt: {kind: fixed, value: 16}, output: {kind: fixed, value: TOKENS}}
fleet: {pools: [{model: llama-3.1-8b, device: h100-sxm}]}
router: {policy: POLICY}
predictor: {kind: linear, alpha_us: 20000}
run: {macro_steps: MACRO, executor: inline}
"""


@pytest.mark.parametrize("policy", ["round_robin", "least_outstanding"])
@pytest.mark.parametrize("speedup", [1.5, None])
def test_time_advances_while_replicas_drain(tmp_path: Path, policy: str, speedup: float | None) -> None:
    """Simulated time and tokens move on after the last arrival, paced or not, and end where the run ends."""
    port = _free_port()
    tokens, macro = (200, "true") if speedup else (60_000, "false")
    text = DRAIN.replace("TOKENS", str(tokens)).replace("MACRO", macro).replace("POLICY", policy)
    study = Study.model_validate(yaml.safe_load(text))
    options = RunOptions(out=tmp_path / "run", metrics=MetricsOptions(port), speedup=speedup)
    seen: list[tuple[float, float]] = []
    with ThreadPoolExecutor() as pool:
        run = pool.submit(run_study, study, options)
        while not run.done():
            with suppress(OSError, ValueError):
                page = _page(port)
                seen.append((_sum(page, "cluster_sim_time_seconds"), _sum(page, "vllm:generation_tokens_total")))
            time.sleep(0.02)
        end_s = run.result().summary["simulated_s"]
    assert seen == sorted(seen)
    assert len({time_s for time_s, _ in seen if 1 < time_s < end_s}) >= 1, seen
    assert seen[-1] == (pytest.approx(end_s), 10 * tokens)


def test_nobody_watches(tmp_path: Path) -> None:
    """A run that nobody scrapes ends at once, however long it might linger, and has the results that it has without."""
    study = Study.model_validate(yaml.safe_load(STUDY.replace("ENGINE", "vllm_v1")))
    started_s = time.monotonic()
    metrics = MetricsOptions(_free_port(), linger_s=600)
    served = run_study(study, RunOptions(executor="inline", out=tmp_path / "run", metrics=metrics))
    assert time.monotonic() - started_s < 300
    assert served.digest == run_study(study, RunOptions(executor="inline", out=tmp_path / "alone")).digest


def _often(port: int, is_over: threading.Event) -> None:
    """Scrape a hundred times a second, in every format that a scraper may ask for, HEAD included."""
    accepts = ("*/*", "application/openmetrics-text;version=1.0.0", "application/vnd.google.protobuf")
    for number in count():
        if is_over.wait(0.01):
            return
        headers = {"Accept": accepts[number % 3], "Accept-Encoding": "gzip" if number % 2 else "identity"}
        method = "GET" if number % 5 else "HEAD"
        request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers=headers, method=method)
        with suppress(OSError), urllib.request.urlopen(request, timeout=10) as response:
            response.read()


def _strangers(port: int, is_over: threading.Event, opening: bytes, most: int) -> None:
    """Hold so many connections that begin to say something, or ask for the page, and never read."""
    held: list[socket.socket] = []
    while not is_over.wait(0.005):
        with suppress(OSError):
            while len(held) < most:
                held.append(socket.create_connection(("127.0.0.1", port), timeout=1))
                held[-1].sendall(opening)
    for stranger in held:
        stranger.close()


def _never_reading(port: int, is_over: threading.Event) -> None:
    _strangers(port, is_over, b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n", 4)


def _half_open(port: int, is_over: threading.Event) -> None:
    _strangers(port, is_over, b"GET /metr", 200)


@pytest.mark.parametrize("watch", [_often, _never_reading, _half_open])
def test_strangers_do_no_harm(
    tmp_path: Path, watch: Callable[[int, threading.Event], None], capfd: pytest.CaptureFixture[str]
) -> None:
    """Whoever is at the port, and however often, the run ends with the results that it has alone, and says nothing."""
    study = Study.model_validate(yaml.safe_load(STUDY.replace("ENGINE", "vllm_v1")))
    alone = run_study(study, RunOptions(executor="inline", out=tmp_path / "alone"))
    capfd.readouterr()
    metrics, is_over = MetricsOptions(_free_port(), linger_s=0.0), threading.Event()
    with ThreadPoolExecutor() as pool:
        watching = pool.submit(watch, metrics.port, is_over)
        try:
            watched = run_study(study, RunOptions(executor="inline", out=tmp_path / "run", metrics=metrics))
        finally:
            is_over.set()
        watching.result(timeout=60)
    assert watched.digest == alone.digest
    assert "Traceback" not in "".join(capfd.readouterr())


@pytest.mark.acceptance
def test_interrupt_ends_the_wait(checkout: Path, tmp_path: Path) -> None:
    """Ctrl-C while the end waits for a scraper leaves a complete run."""
    port = _free_port()
    text = STUDY.replace("ENGINE", "vllm_v1")
    with _running(checkout, tmp_path, text, port, "--executor", "inline", "--linger-s", "600") as run:
        while True:  # One scrape, after which nobody reads the last page.
            with suppress(OSError):
                _page(port)
                break
            time.sleep(0.01)
        deadline = time.monotonic() + 60
        while not (tmp_path / "run" / "summary.json").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.2)
        assert run.poll() is None
        os.kill(run.pid, signal.SIGINT)
        assert run.wait(timeout=30) == 0, (tmp_path / "run.log").read_text()


def test_wrong_place_leaves_nothing(tmp_path: Path) -> None:
    """A port that is taken is wrong input, before anything is written."""
    study = Study.model_validate(yaml.safe_load(STUDY.replace("ENGINE", "vllm_v1")))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        metrics = MetricsOptions(taken.getsockname()[1])
        with pytest.raises(InputError, match="--metrics-port"):
            run_study(study, RunOptions(executor="inline", out=tmp_path / "run", metrics=metrics))
    assert list(tmp_path.iterdir()) == []
