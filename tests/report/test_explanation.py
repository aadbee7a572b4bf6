"""Explanations of single requests."""

import io
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from cluster_sim.errors import InputError
from cluster_sim.metrics.time_parts import PARTS
from cluster_sim.report.explanation import explain_request, print_explanation
from cluster_sim.report.run_data import RunData, undamaged
from tests.small_run import run_small


@pytest.fixture(scope="module")
def pressed(tmp_path_factory: pytest.TempPathFactory) -> RunData:
    """A run in which requests queue, are preempted and time out in the queue."""
    overrides = ("fleet.pools.0.engine.num_kv_blocks=80", "router.client_timeout_s=3")
    return RunData.read(run_small(tmp_path_factory.mktemp("pressed"), *overrides).directory)


def test_parts_of_every_kind_of_end_add_up(pressed: RunData) -> None:
    """The parts in ns are the time to the end, and the sentences say what became of the request."""
    rows = pq.read_table(pressed.directory / "requests.parquet").to_pylist()
    for status, words in (("finished", "finished"), ("cancelled", "is cancelled (client gave up)")):
        row = next(row for row in rows[20:] if row["status"] == status)
        explanation = explain_request(pressed, row["request_id"])
        assert list(explanation.parts_ns) == list(PARTS)
        assert sum(explanation.parts_ns.values()) == round((row["finish_s"] - row["arrival_s"]) * 1e9)
        assert explanation.sentences[0].startswith(f"Request {row['request_id']} {words}")
        assert (explanation.slower_than_ratio is None) == (status != "finished")


def test_the_slowest_is_explained_by_its_largest_excess(pressed: RunData) -> None:
    """The cause is the part that exceeds its median most, and nobody is slower."""
    table = pq.read_table(pressed.directory / "requests.parquet", columns=["request_id", "e2e_s"]).to_pylist()
    slowest = max((row for row in table if row["e2e_s"] is not None), key=lambda row: row["e2e_s"])
    plain = explain_request(pressed, slowest["request_id"]).to_plain()
    excess = {name: plain["parts_s"][name] - plain["median_parts_s"][name] for name in PARTS}
    assert plain["cause"] == max(excess, key=lambda name: excess[name])
    assert plain["slower_than_ratio"] > 0.98
    assert any(sentence.startswith("It was slow mainly because") for sentence in plain["sentences"])
    assert plain["at_replica"]["time_s"] <= plain["scheduled_s"]


def test_the_table_shows_what_took_time(pressed: RunData) -> None:
    """Each part that took time has a line with its share; the last line is the sum."""
    console = Console(file=io.StringIO(), width=100)
    explanation = explain_request(pressed, 30)
    print_explanation(console, explanation)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert all(sentence in text for sentence in explanation.sentences)
    lines = [line for line in text.splitlines() if line.startswith(tuple(PARTS.values()))]
    assert len(lines) == sum(bool(s or explanation.median_parts_s[name]) for name, s in explanation.parts_s.items())
    assert "together" in text


def test_several_preemptions_are_listed(tmp_path: Path) -> None:
    """Each of several has a line under their sum, and the JSON has starts and ends that make it."""
    answers = "workload.lengths.output={kind: uniform, min: 100, max: 300}"
    overrides = ("fleet.pools.0.engine.num_kv_blocks=60", answers)
    data = RunData.read(run_small(tmp_path, *overrides).directory)
    rows = pq.read_table(data.directory / "requests.parquet").to_pylist()
    row = max(rows, key=lambda row: len(row["preemption_starts_s"]))
    explanation = explain_request(data, row["request_id"])
    gaps = explanation.to_plain()["preemption_gaps"]
    assert [gap["start_s"] for gap in gaps] == row["preemption_starts_s"]
    assert sum(gap["end_s"] - gap["start_s"] for gap in gaps) == pytest.approx(explanation.parts_s["preemption"])
    console = Console(file=io.StringIO(), width=100)
    print_explanation(console, explanation)
    assert isinstance(console.file, io.StringIO)
    lines = [line for line in console.file.getvalue().splitlines() if line.startswith("  from ")]
    assert len(lines) == len(gaps) > 1


def test_times_that_are_texts_are_refused(pressed: RunData, tmp_path: Path) -> None:
    """A summary with a link time in quotes is damaged: times a thousand million it would be a text of 6 GB."""
    run = tmp_path / "run"
    shutil.copytree(pressed.directory, run)
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    summary["idle_replicas"][0]["return_link_s"] = "0.0005"
    (run / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    with pytest.raises(InputError, match="of another kind than runs write"), undamaged(run):
        explain_request(RunData.read(run), 3)


def test_unknown_requests_and_damaged_tables_are_refused(pressed: RunData, tmp_path: Path) -> None:
    """The message has the ids that there are, or the file that cannot be read."""
    for unknown in (150, -1, 1 << 70):
        with pytest.raises(InputError, match=rf"has no request {unknown}; its ids run from 0 to 149"):
            explain_request(pressed, unknown)
    run = tmp_path / "run"
    shutil.copytree(pressed.directory, run)
    (run / "requests.parquet").write_bytes(b"PAR1 is no table")
    with pytest.raises(InputError, match=r"requests.parquet: cannot be read"):
        explain_request(RunData.read(run), 3)
    (run / "requests.parquet").unlink()
    with pytest.raises(InputError, match=r"it has no requests.parquet"):
        explain_request(RunData.read(run), 3)
