"""Tests of the report of a run."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from cluster_sim.errors import InputError
from cluster_sim.report.html import report_page, write_report
from cluster_sim.report.result_tables import verdict_sentence
from cluster_sim.report.run_data import RunData


def test_page_is_self_contained(run_directory: Path) -> None:
    """The page loads nothing from anywhere and holds every section."""
    page = report_page(RunData.read(run_directory))
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=", page)
    titles = re.findall(r"<h2>([^<]+)</h2>", page)
    assert titles == [
        "Objectives", "Latency", "Run", "Latency distribution", "Time to first token", "Requests at the replicas",
        "Tokens", "KV cache", "Balance", "Pools", "Checks", "Study",
    ]  # fmt: skip
    assert "uncalibrated roofline" in page
    assert page.index("<h1>") < page.index(verdict_sentence(RunData.read(run_directory).summary)) < page.index("<h2>")


def test_text_of_the_study_is_escaped(run_directory: Path) -> None:
    """Nothing that a study says can become markup."""
    data = RunData.read(run_directory)
    evil = "<script>alert(1)</script>"
    summary = {**data.summary, "name": evil, "predictor": evil}
    page = report_page(replace(data, summary=summary, resolved=evil))
    assert evil not in page


def test_report_goes_where_asked(run_directory: Path, tmp_path: Path) -> None:
    """The report is written into the run, or to the file that the caller names; a failure is one message."""
    run = tmp_path / "run"
    shutil.copytree(run_directory, run)
    assert write_report(run) == run / "report.html"
    assert (run / "report.html").read_text(encoding="utf-8") == report_page(RunData.read(run))
    shutil.rmtree(run)
    assert write_report(run_directory, tmp_path / "mine.html").stat().st_size > 100_000
    assert [path.name for path in tmp_path.iterdir()] == ["mine.html"]
    with pytest.raises(InputError, match="is not the directory of a complete run"):
        write_report(tmp_path)
    with pytest.raises(InputError, match="cannot be written"):
        write_report(run_directory, tmp_path / "no" / "mine.html")


def test_damaged_runs_are_refused(run_directory: Path, tmp_path: Path) -> None:
    """What is missing, unreadable or of another version is named."""
    with pytest.raises(InputError, match=r"nowhere: is not the directory of a complete run: there is none"):
        RunData.read(tmp_path / "nowhere")
    run = tmp_path / "run"
    shutil.copytree(run_directory, run)
    (run / "series.parquet").unlink()
    with pytest.raises(InputError, match=r"run: is not the directory of a complete run: it has no series.parquet"):
        RunData.read(run).series()
    for text, message in (
        ("{}", "summary.json: has summary_version None, but this program reads"),
        ("[]", "summary.json: must be a JSON object"),
        ("{", "summary.json: cannot be read: Expecting"),
    ):
        (run / "summary.json").write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=message):
            RunData.read(run)
    (run / "manifest.json").unlink()
    (run / "summary.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match=r"it has no manifest.json"):
        RunData.read(run)


def test_a_browser_draws_every_chart(run_directory: Path, tmp_path: Path) -> None:
    """A real browser, offline, draws all six charts."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("needs chromium (Debian package of that name)")
    page = write_report(run_directory, tmp_path / "report.html")
    done = subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"),
            *("--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=5000", "--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    assert len(re.findall(r'<svg class="main-svg"[^>]*><defs', done.stdout)) >= 6
    for chart in range(6):
        assert re.search(rf'id="chart-{chart}" class="[^"]*js-plotly-plot', done.stdout)
