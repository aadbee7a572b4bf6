"""Tests of the report of a run."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cluster_sim.errors import InputError
from cluster_sim.report.explanation import explain_request
from cluster_sim.report.perfetto_trace import write_trace
from cluster_sim.report.report_file import write_report
from cluster_sim.report.run_data import RunData
from cluster_sim.report.run_page import run_page
from tests.small_run import run_small

LATER = ("first_dispatch", "prefilled", "preempted", "interrupted")


def test_page_is_self_contained(run_directory: Path) -> None:
    """The page loads nothing from anywhere and holds every section, the verdict before all others."""
    page = run_page(RunData.read(run_directory))
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)
    assert "http" not in re.sub(r"http-equiv", "", page)
    titles = re.findall(r"<h2>([^<]+)</h2>", page)
    assert titles == [
        "Objectives", "Latency", "Where the time goes", "Over time", "Replicas", "Totals and cost",
        "How sure the figures are", "Study",
    ]  # fmt: skip
    charts = re.findall(r"<h3>([^<]+)</h3>", page)
    assert charts == [
        "Latency of requests", "Time per token", "First token over time", "First token against prompt length",
        "Throughput", "Requests at the replicas", "Tokens", "KV cache", "Requests by replica", "KV cache by replica",
    ]  # fmt: skip
    assert page.index("<h1>") < page.index('class="verdict') < page.index("2 x llama-3-8b") < page.index("<h2>")
    assert len(page) < 500_000


def test_every_picture_has_a_text_and_every_table_a_caption(run_directory: Path) -> None:
    """Images say what they show, tables what they hold, their heads what they head; no Python is printed."""
    page = run_page(RunData.read(run_directory))
    body = page[page.index("<body>") : page.index("<script>")]
    for picture in re.findall(r"<(?:svg|img) [^>]*>", body):
        assert re.search(r'(?:alt|aria-label)="[^"]{20,}"', picture), picture[:200]
    assert body.count("<table") == body.count("<caption>")
    assert all('scope="' in head for head in re.findall(r"<th[ >][^>]*>", body))
    shown = re.sub(r"<pre.*?</pre>|src=\"data:[^\"]*\"", "", body, flags=re.DOTALL)
    assert not re.search(r"[{\[]&#x27;|\bNone\b|\bTrue\b|\bFalse\b|\bnan\b", shown)


def test_preempted_cached_and_unlimited_runs_are_shown(tmp_path: Path) -> None:
    """Preemptions and cache hits have charts where there are any; without limits and series the page is shorter."""
    pressed = run_small(tmp_path, "fleet.pools.0.engine.num_kv_blocks=150", "slo={e2e_p99_s: 0.5}").directory
    page = run_page(RunData.read(pressed))
    assert "<h3>Preemptions</h3>" in page
    assert '<div class="verdict missed"><b>Objectives missed</b>' in page
    bare = run_small(tmp_path, "run.series_interval_s=0", "workload.count=3").directory
    page = run_page(RunData.read(bare))
    assert "No objectives are set." in page
    assert "KV cache by replica" not in page


def test_runs_in_which_nothing_finishes_are_shown(tmp_path: Path) -> None:
    """A run whose requests are all cut off has a page."""
    cut_off = run_page(RunData.read(run_small(tmp_path, "run.end_s=0.22").directory))
    assert "Where the time goes" not in cut_off
    assert "<h2>Latency</h2>" in cut_off


def test_text_of_the_study_is_escaped(run_directory: Path) -> None:
    """Nothing that a study says can become markup."""
    data = RunData.read(run_directory)
    evil = "<script>alert(1)</script>"
    summary = {**data.summary, "name": evil, "predictor": evil, "warnings": [evil]}
    page = run_page(replace(data, summary=summary, resolved=evil))
    assert evil not in page


def test_report_goes_where_asked(run_directory: Path, tmp_path: Path) -> None:
    """The report is written into the run, or to the file that the caller names; a failure is one message."""
    run = tmp_path / "run"
    shutil.copytree(run_directory, run)
    assert write_report(run) == run / "report.html"
    assert (run / "report.html").read_text(encoding="utf-8") == run_page(RunData.read(run))
    shutil.rmtree(run)
    assert write_report(run_directory, tmp_path / "mine.html").stat().st_size > 50_000
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
        run_page(RunData.read(run))
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    version = summary["summary_version"]
    for text, message in (
        ("{}", "summary.json: has summary_version None, but this program reads"),
        ("[]", "summary.json: must be a JSON object"),
        ("{", "summary.json: cannot be read: Expecting"),
        (json.dumps({"summary_version": version}), "summary.json: lacks name, seed, simulated_s"),
    ):
        (run / "summary.json").write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=message):
            RunData.read(run)
    (run / "resolved.yaml").write_bytes(b"\xff\xfe")
    (run / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    with pytest.raises(InputError, match=r"resolved.yaml: not a UTF-8 text file"):
        RunData.read(run)
    (run / "manifest.json").unlink()
    (run / "summary.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match=r"it has no manifest.json"):
        RunData.read(run)


def test_runs_that_are_damaged_inside_are_refused(run_directory: Path, tmp_path: Path) -> None:
    """Parts of a summary that are missing or of another type, and foreign tables, are one message without a file."""
    summary = json.loads((run_directory / "summary.json").read_text(encoding="utf-8"))
    changes = (
        {"pools": [{}]},
        {"slo": []},
        {"replicas": [{"replica": 0}, {"replica": 1}]},
        {"checks": 3},
        {"energy": {}},
    )
    for number, change in enumerate(changes):
        run = tmp_path / f"run{number}"
        shutil.copytree(run_directory, run)
        (run / "summary.json").write_text(json.dumps(summary | change), encoding="utf-8")
        with pytest.raises(InputError, match=rf"run{number}: is damaged, or of another release: it"):
            write_report(run)
        assert not (run / "report.html").exists()
    shutil.copy(run / "requests.parquet", run / "series.parquet")
    (run / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    with pytest.raises(InputError, match=r"series.parquet: lacks the columns itl_counts"):
        write_report(run)


def test_tables_of_earlier_releases_are_shown(run_directory: Path, tmp_path: Path) -> None:
    """A run without the columns and the key that breakdowns came with has a page, a trace and explanations."""
    run = tmp_path / "run"
    shutil.copytree(run_directory, run)
    table = pq.read_table(run / "requests.parquet")
    pq.write_table(table.drop_columns([f"{name}_s" for name in LATER]), run / "requests.parquet")
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    del summary["idle_replicas"]
    (run / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    page = write_report(run).read_text(encoding="utf-8")
    assert "generating its tokens" in page
    assert "others in its batches" not in page
    assert len(json.loads(write_trace(run).read_text(encoding="utf-8"))) > 1000
    assert sum(explain_request(RunData.read(run), 7).parts_ns.values()) > 0
