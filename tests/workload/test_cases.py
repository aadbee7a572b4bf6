"""Small inputs that were once read wrongly, each with what must come out."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from cluster_sim.cli.app import app
from cluster_sim.config.loading.load import load_study
from cluster_sim.errors import InputError
from cluster_sim.simulation.run import run_study
from cluster_sim.simulation.run_options import RunOptions
from cluster_sim.workload.build import build_columns, build_source
from cluster_sim.workload.columns import concatenate
from cluster_sim.workload.source import FeedbackSource


@pytest.fixture(name="cases")
def _cases(shared: Path) -> Path:
    """The folder of the inputs."""
    folder = shared / "cases"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}, which is not there")
    return folder


def sessions_file(cases: Path) -> Path:
    return cases / "files" / "traces" / "sessions-with-delay.jsonl"


def describe(*arguments: object) -> dict[str, object]:
    command = ["workload", "describe", *map(str, arguments), "--json"]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    figures: dict[str, object] = json.loads(result.output)
    return figures


@pytest.mark.parametrize(
    ("name", "second_arrival_s", "second_prompt_tokens"),
    [("cumulative", 0.6, 1024), ("early", 4.5, 1024), ("delay_only", 4.5, 512 + 400 + 100)],
)
def test_a_delay_counts_from_the_end_of_the_turn_before(
    cases: Path, tmp_path: Path, name: str, second_arrival_s: float, second_prompt_tokens: int
) -> None:
    """10 or 400 steps of 10 ms and links of 1 ms, then 0.5 s of delay; whole prompts stay, new tokens are added."""
    folder = cases / "session_trace"
    study = load_study(folder / "study.yaml", [f"workload.path={folder / name}.jsonl"])
    directory = run_study(study, RunOptions(executor="inline", out=tmp_path / "run")).directory
    first, second = pq.read_table(directory / "requests.parquet").sort_by("request_id").to_pylist()
    assert second["arrival_s"] == pytest.approx(first["finish_s"] + 0.5)
    assert second["arrival_s"] == pytest.approx(second_arrival_s, abs=0.002)
    assert second["prompt_tokens"] == second_prompt_tokens


@pytest.mark.parametrize(("name", "most"), [("b2.csv", 1.0), ("two.csv", 1.0), ("same.csv", 1.0)])
def test_an_interval_that_is_cut_off_gives_no_peak(cases: Path, name: str, most: float) -> None:
    """A few requests a minute have no peak above one a second."""
    figures = describe(cases / "burstgpt_zero" / name)
    over_time = figures["rate_over_time"]
    assert isinstance(over_time, list)
    assert 0 < max(interval["request_rate"] for interval in over_time) <= most


def test_seconds_in_a_format_of_milliseconds(cases: Path) -> None:
    """Forty rows half a second apart are asked about, and 2 a second once the unit is said."""
    path = cases / "files" / "traces" / "seconds.jsonl"
    with pytest.raises(InputError, match=r"the unit of time is in doubt: .* at 2 per second if they are in seconds"):
        describe(path)
    for option in (["--timestamp-unit-s", 1], ["--format", "timed_trace"]):
        figures = describe(path, *option)
        assert (figures["requests"], figures["first_arrival_s"], figures["duration_s"]) == (40, 0.0, 19.5)
        assert figures["request_rate"] == pytest.approx(2.0)


def test_sessions_with_delays(cases: Path) -> None:
    """Six sessions of 2, 3, 4, 2, 3 and 4 turns; the second of the first session has 4096 + 200 + 700 tokens."""
    study = load_study(cases / "files" / "trace.yaml", [f"workload.path={sessions_file(cases)}"])
    source = build_source(study.workload, study.seed)
    assert isinstance(source, FeedbackSource)
    first = [request for chunk in source.initial() for request in chunk]
    assert [request.arrival_ns / 1e9 for request in first] == [0, 1, 2, 3, 4, 5]
    turns = []
    for start in first:
        request, prompts = start, []
        while True:
            prompts.append(request.prompt_tokens)
            following = source.on_end(request, 10**12, "finished")
            if not following:
                break
            assert following[0].arrival_ns == 10**12 + (2_500 + 100 * (len(prompts) - 1)) * 10**6
            request = following[0]
        turns.append(prompts)
    assert [len(prompts) for prompts in turns] == [2, 3, 4, 2, 3, 4]
    assert turns[0] == [4096, 4996]
    assert turns[2] == [5120, 6020, 6970, 8020]


def test_columns_that_have_no_effect(cases: Path) -> None:
    """Columns that nothing uses are named once; sessions and one model are there for the asking."""
    path = cases / "files" / "traces" / "dropped-columns.csv"
    notices = describe(path)["notices"]
    assert isinstance(notices, list)
    assert f"{path}: columns not used: Session ID, Elapsed time, Model, Total tokens, Log Type" in notices


def test_conversations_as_json_lines(cases: Path, tmp_path: Path) -> None:
    """Five requests, as from the same conversations in a list."""
    path = cases / "files" / "traces" / "sharegpt.jsonl"
    listed = tmp_path / "list.json"
    listed.write_text(f"[{','.join(path.read_text().splitlines())}]")
    lines, whole = describe(path), describe(listed)
    assert lines["requests"] == 5
    assert {**lines, "notices": None} == {**whole, "notices": None}


@pytest.mark.parametrize(
    ("name", "requests", "prompts"),
    [
        ("otel-spans.json", 3, [8, 55, 123]),
        ("weka.jsonl", 3, [640, 896, 320]),
        ("inference-perf-config.yml", 100, [150, 250, 350]),
    ],
)
def test_sessions_of_other_tools(cases: Path, name: str, requests: int, prompts: list[int]) -> None:
    """Calls wait for those before; the prompts of the first session are the file's own."""
    path = cases / "files" / "formats" / name
    assert describe(path)["requests"] == requests
    trace = load_study(cases / "files" / "trace.yaml", [f"workload.path={path}"]).workload
    columns = concatenate(list(build_columns(trace, 1).columns()))
    pairs = zip(columns.prompt_tokens.tolist(), columns.attribute_list(), strict=True)
    own = [prompt for prompt, attributes in pairs if attributes.session_id == 0]
    assert [*own, 320][:3] == prompts


def test_calls_of_an_agent_keep_their_pauses(cases: Path) -> None:
    """The calls of the recorded agent follow 0.5 and 1.0 s after the one before, and carry the conversation."""
    path = cases / "files" / "formats" / "otel-spans.json"
    trace = load_study(cases / "files" / "trace.yaml", [f"workload.path={path}"]).workload
    columns = concatenate(list(build_columns(trace, 1).columns()))
    assert columns.arrival_ns.tolist() == [0, 500_000_000, 1_500_000_000]
    shared = [attributes.segments for attributes in columns.attribute_list()]
    assert shared[1][: len(shared[0])] == shared[0]
    assert shared[2][: len(shared[1])] == shared[1]


def test_batches_are_estimated_and_say_so(cases: Path) -> None:
    """Two requests of 42 characters and at most 1,000 tokens."""
    figures = describe(cases / "files" / "formats" / "openai-batch.jsonl")
    assert figures["requests"] == 2
    assert (figures["total_prompt_tokens"], figures["total_output_tokens"]) == (2 * 11, 2000)
    assert any("estimated" in str(notice) for notice in figures["notices"])  # type: ignore[union-attr]


def test_results_replay_as_workloads(cases: Path) -> None:
    """The requests of a detailed result; one with a failure beside gives the same."""
    whole, failed = (
        describe(cases / "files" / "bench" / f"{name}.json") for name in ("detailed", "detailed-one-failed")
    )
    assert (whole["requests"], whole["total_prompt_tokens"], whole["total_output_tokens"]) == (40, 39_761, 27_268)
    assert {**whole, "notices": None} == {**failed, "notices": None}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("formats/guidellm_report_v2.json", "the report has 2 benchmarks; say which one"),
        ("formats/br_v0_2_example.yaml", "a benchmark report of llm-d; its totals are no requests"),
        ("formats/sglang-online.jsonl", "line 1: 'input_lens' is missing: the result has totals alone"),
        ("bench/other-model.json", "'input_lens' is missing: the result has totals alone"),
    ],
)
def test_results_without_requests_are_refused(cases: Path, name: str, message: str) -> None:
    """Totals are no workload, and the message says what would be one."""
    with pytest.raises(InputError, match=message):
        describe(cases / "files" / name)
