"""A real Prometheus on loopback that scrapes one target, for tests."""

import json
import math
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SCRAPE_INTERVAL = "1s"
"""Also the longest that a scrape may take: half of it may be a wait for the event loop.  Longer ones fail."""
GUARD_S = 240.0
"""How long a condition is waited for: never reached unless something hangs."""


def dashboard_expressions(path: Path, model_name: str) -> list[str]:
    """Return the PromQL expressions of a Grafana dashboard with its variables filled in."""
    found: list[str] = []

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if isinstance(node.get("expr"), str):
                found.append(node["expr"])
            for child in node.values():
                walk(child)
        elif isinstance(node, list):
            for child in node:
                walk(child)

    walk(json.loads(path.read_text(encoding="utf-8")))
    return [_filled_in(text, model_name) for text in found]


def appendix_expressions(reference: Path, dashboard: str, model_name: str) -> list[str]:
    """Return the PromQL expressions that the appendix of ``reference`` lists for a public dashboard."""
    section = reference.read_text(encoding="utf-8").partition(f"### {dashboard}")[2].partition("\n### ")[0]
    listed = re.findall(r"^- (?!\(variable\)).*?: `(.*)`$", section, flags=re.MULTILINE)
    return [_filled_in(text, model_name) for text in listed]


def _filled_in(expression: str, model_name: str) -> str:
    """Return a dashboard's expression with a value for each of its variables."""
    values = {
        "$__rate_interval": "1m",
        "$__interval": "1m",
        "$__range": "1h",
        "$model_name": model_name,
        "$Deployment_id": model_name,
    }
    for variable, value in values.items():
        expression = expression.replace(variable, value)
    return expression


class PrometheusClient:
    """Asks a running Prometheus."""

    def __init__(self, port: int) -> None:
        self._root = f"http://127.0.0.1:{port}"

    def is_ready(self) -> bool:
        """Whether the server answers."""
        try:
            with urllib.request.urlopen(f"{self._root}/-/ready", timeout=30):
                return True
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def query(self, expression: str, at_s: float | None = None) -> list[float]:
        """Return the values of an instant query, one per series, now or at a Unix time."""
        return [float(series["value"][1]) for series in self._result(expression, at_s)]

    def scrapes(self) -> list[float]:
        """Return the Unix times of the scrapes so far that succeeded: a query at one reads its page, whatever became of
        later ones.
        """
        series = self._result(f"up[{GUARD_S + 60:g}s]", None)
        return [float(at_s) for one in series for at_s, value in one["values"] if value == "1"]

    def _result(self, expression: str, at_s: float | None) -> list[dict[str, Any]]:
        query = urllib.parse.urlencode({"query": expression} | ({} if at_s is None else {"time": f"{at_s:.3f}"}))
        with urllib.request.urlopen(f"{self._root}/api/v1/query?{query}", timeout=GUARD_S) as response:
            answer = json.load(response)
        assert answer["status"] == "success", answer
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def points(self, expression: str, last_s: float) -> list[float]:
        """Return the values of the one series of a range query over the last seconds, one a second."""
        now_s = time.time()
        query = urllib.parse.urlencode({"query": expression, "start": now_s - last_s, "end": now_s, "step": 1})
        with urllib.request.urlopen(f"{self._root}/api/v1/query_range?{query}", timeout=GUARD_S) as response:
            series = json.load(response)["data"]["result"]
        assert len(series) <= 1, expression
        return [float(value) for one in series for _, value in one["values"]]

    def lacking(self, expressions: list[str], at_s: float | None = None) -> list[str]:
        """Return the expressions that give no data, or data that is not finite."""
        lacking = []
        for expression in expressions:
            values = self.query(expression, at_s)
            if not values or not all(math.isfinite(value) for value in values):
                lacking.append(f"{expression}: {values}")
        return lacking


@contextmanager
def running_prometheus(folder: Path, target_port: int, rules: Path | None = None) -> Iterator[PrometheusClient]:
    """Run Prometheus scraping ``target_port`` until the block ends; skip the test where it is not installed.

    ``rules`` is a file of recording rules.
    """
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("needs prometheus (Debian package of that name)")
    config = folder / "prometheus.yml"
    config.write_text(
        f"global: {{scrape_interval: {SCRAPE_INTERVAL}, scrape_timeout: {SCRAPE_INTERVAL}, evaluation_interval: 1s}}\n"
        f"rule_files: {[str(rules)] if rules else []}\n"
        "scrape_configs:\n"
        f"  - {{job_name: cluster-sim, static_configs: [{{targets: ['127.0.0.1:{target_port}']}}]}}\n",
        encoding="utf-8",
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                "--storage.tsdb.retention.time=100y",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            client = PrometheusClient(port)
            deadline = time.monotonic() + GUARD_S
            while not client.is_ready():
                assert process.poll() is None, (folder / "prometheus.log").read_text()
                assert time.monotonic() < deadline, f"prometheus did not become ready in {GUARD_S:g} s"
                time.sleep(0.1)
            yield client
        finally:
            process.terminate()
            process.wait(timeout=GUARD_S)
