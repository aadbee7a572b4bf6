"""Replay of traces: windows, order, scale, clipping, resampling."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster_sim.errors import InputError
from cluster_sim.workload.build import build_source, total_requests
from cluster_sim.workload.traces import trace_rows

HEADER = "arrived_at,num_prefill_tokens,num_decode_tokens\n"
FOUR = HEADER + "0.5,10,1\n1.5,20,2\n2.0,30,3\n4.0,40,4\n"


def test_rows_and_times(trace_file: Callable[..., str], rows: Callable[..., Any]) -> None:
    """Times count from the first row and lengths are as written."""
    block = rows({"kind": "trace", "path": trace_file(FOUR)})
    assert block.arrival_ns.tolist() == [0, 1_000_000_000, 1_500_000_000, 3_500_000_000]
    assert block.prompt_tokens.tolist() == [10, 20, 30, 40]
    assert block.output_tokens.tolist() == [1, 2, 3, 4]


def test_time_scale_multiplies_gaps(trace_file: Callable[..., str], rows: Callable[..., Any]) -> None:
    """0.1 is ten times the rate."""
    block = rows({"kind": "trace", "path": trace_file(FOUR), "time_scale": 0.1})
    assert block.arrival_ns.tolist() == [0, 100_000_000, 150_000_000, 350_000_000]


def test_a_rate_keeps_the_shape(trace_file: Callable[..., str], rows: Callable[..., Any]) -> None:
    """request_rate scales all gaps alike: 4 requests over 3.5 s become 3 gaps at 10 per second."""
    times = rows({"kind": "trace", "path": trace_file(FOUR), "request_rate": 10}).arrival_ns
    assert (times[-1] - times[0]) / 1e9 == pytest.approx(0.3)
    assert (times[1] - times[0]) / (times[-1] - times[0]) == pytest.approx(1 / 3.5)


def test_windows_and_first(trace_file: Callable[..., str], rows: Callable[..., Any]) -> None:
    """A window starts at time 0 and holds start_s <= t < end_s; first counts rows within it."""
    path = trace_file(FOUR)
    block = rows({"kind": "trace", "path": path, "start_s": 1.0, "end_s": 3.5})
    assert block.arrival_ns.tolist() == [0, 500_000_000]
    assert rows({"kind": "trace", "path": path, "first": 3}).prompt_tokens.tolist() == [10, 20, 30]
    assert rows({"kind": "trace", "path": path, "start_s": 1, "first": 1}).prompt_tokens.tolist() == [20]
    with pytest.raises(InputError, match="no row lies in the window"):
        rows({"kind": "trace", "path": path, "start_s": 100})


def test_unsorted_times_are_sorted_with_a_notice(trace_file: Callable[..., str], rows: Callable[..., Any]) -> None:
    """Rows come in order of time, lengths with them, and the user is told; strict refuses and names the line."""
    path = trace_file(HEADER + "3,10,1\n1,20,2\n\n1,21,3\n0.5,30,4\n")
    notices: list[str] = []
    block = rows({"kind": "trace", "path": path}, notices=notices)
    assert block.prompt_tokens.tolist() == [30, 20, 21, 10]
    assert notices == [f"{path}: 2 times went backwards; the rows were sorted by time"]
    with pytest.raises(InputError, match="line 3: the time goes backwards"):
        rows({"kind": "trace", "path": path, "strict": True})


def test_unsorted_absolute_times_start_at_the_earliest(
    trace_file: Callable[..., str], rows: Callable[..., Any]
) -> None:
    """Where the first row is not the earliest, time 0 is still the earliest."""
    path = trace_file("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:00:05,1,1\n2023-11-16 18:00:02,2,2\n")
    block = rows({"kind": "trace", "path": path})
    assert block.arrival_ns.tolist() == [0, 3_000_000_000]
    assert block.prompt_tokens.tolist() == [2, 1]


def test_a_run_learns_what_was_done_to_its_files(trace_file: Callable[..., str], parse: Callable[..., Any]) -> None:
    """Notices of traces come from wherever they stand; what is drawn has none."""
    part = {"kind": "trace", "path": trace_file(HEADER + "3,10,1\n1,20,2\n")}
    phases = {"kind": "phases", "phases": [{"duration_s": 9, "workload": part}]}
    for section in (part, {"kind": "mix", "parts": [part]}, phases):
        notices: list[str] = []
        build_source(parse(**section), 1, notices)
        assert len(notices) == 1
    drawn = {"kind": "synthetic", "arrivals": {"kind": "poisson", "request_rate": 1}, "count": 1}
    lengths = {"prompt": {"kind": "fixed", "value": 1}, "output": {"kind": "fixed", "value": 1}}
    notices = []
    build_source(parse(**drawn, lengths=lengths), 1, notices)
    assert notices == []


def test_long_files_are_streamed(
    trace_file: Callable[..., str], rows: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file too long to keep gives the same rows, sorted or not."""
    lines = [f"{(index * 7 % 50) / 10},{index + 1},1" for index in range(100)]
    for content in (lines, sorted(lines, key=lambda line: float(line.split(",")[0]))):
        path = trace_file(HEADER + "\n".join(content))
        kept = rows({"kind": "trace", "path": path})
        monkeypatch.setattr(trace_rows, "KEPT_ROWS", 10)
        streamed = rows({"kind": "trace", "path": path})
        monkeypatch.undo()
        assert np.array_equal(kept.arrival_ns, streamed.arrival_ns)
        assert np.array_equal(kept.prompt_tokens, streamed.prompt_tokens)


def test_files_without_times_need_arrivals(trace_file: Callable[..., str], rows: Callable[..., Any]) -> None:
    """Lengths alone are replayed in order at drawn times; without arrivals the message says what to give."""
    path = trace_file("num_prefill_tokens,num_decode_tokens\n10,1\n20,2\n30,3\n")
    block = rows({"kind": "trace", "path": path, "arrivals": {"kind": "constant", "request_rate": 2}})
    assert block.arrival_ns.tolist() == [500_000_000, 1_000_000_000, 1_500_000_000]
    assert block.prompt_tokens.tolist() == [10, 20, 30]
    with pytest.raises(InputError, match=r"no arrival times; give workload\.arrivals"):
        rows({"kind": "trace", "path": path})


def test_clipping_cuts_or_drops_and_tells(trace_file: Callable[..., str], rows: Callable[..., Any]) -> None:
    """Lengths are cut to bounds or rows dropped, and the number is reported."""
    notices: list[str] = []
    clip = {"max_prompt_tokens": 25, "min_output_tokens": 2}
    block = rows({"kind": "trace", "path": trace_file(FOUR), "clip": clip}, notices=notices)
    assert block.prompt_tokens.tolist() == [10, 20, 25, 25]
    assert block.output_tokens.tolist() == [2, 2, 3, 4]
    assert notices == [f"{trace_file(FOUR)}: 3 rows cut to the clip"]
    block = rows({"kind": "trace", "path": trace_file(FOUR), "clip": {**clip, "outside": "drop"}}, notices=notices)
    assert block.prompt_tokens.tolist() == [20]
    assert notices[1:] == [f"{trace_file(FOUR)}: 3 rows dropped, outside the clip"]


def test_bootstrap_reaches_any_length(trace_file: Callable[..., str], rows: Callable[..., Any]) -> None:
    """Windows drawn with replacement keep the rate and only hold rows of the trace."""
    lines = [f"{index / 10},{index % 7 + 1},{index % 7 + 2}" for index in range(1000)]
    section = {"kind": "trace", "path": trace_file(HEADER + "\n".join(lines))}
    block = rows({**section, "bootstrap": {"window_s": 5, "count": 20_000}})
    assert len(block) == 20_000
    assert (np.diff(block.arrival_ns) >= 0).all()
    assert block.arrival_ns[-1] / 1e9 == pytest.approx(2000, rel=0.01)
    assert np.array_equal(block.output_tokens, block.prompt_tokens + 1)
    assert np.bincount(block.prompt_tokens)[1:] / 20_000 == pytest.approx(np.full(7, 1 / 7), abs=0.01)
    timed = rows({**section, "bootstrap": {"window_s": 5, "duration_s": 333}})
    assert timed.arrival_ns[-1] < 333e9
    assert len(timed) == pytest.approx(3330, abs=20)
    with pytest.raises(InputError, match="longer than the trace"):
        rows({**section, "bootstrap": {"window_s": 500, "count": 5}})


def test_a_trace_of_skipped_rows_is_refused(trace_file: Callable[..., str], rows: Callable[..., Any]) -> None:
    """When every row is skipped, there is nothing to replay and nothing to draw lengths from: both say so."""
    burst = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,x,4,0,4,y\n"
    path = trace_file(burst)
    with pytest.raises(InputError, match="the only row was skipped"):
        rows({"kind": "trace", "path": path})
    lengths = {"kind": "empirical", "path": path}
    arrivals = {"kind": "poisson", "request_rate": 1}
    with pytest.raises(InputError, match="no row with tokens"):
        rows({"kind": "synthetic", "arrivals": arrivals, "lengths": lengths, "count": 1})
    alone = trace_file('[{"conversations": []}]', "s.json")
    with pytest.raises(InputError, match="the only row was skipped"):
        rows({"kind": "trace", "path": alone, "arrivals": arrivals})


def test_options_of_other_formats_are_refused(trace_file: Callable[..., str], rows: Callable[..., Any]) -> None:
    """What a format does not read by is refused by its key, not left out in silence."""
    path = trace_file(FOUR)
    for option in ({"labels": {"timestamp": "t"}}, {"block_tokens": 16}):
        with pytest.raises(InputError, match=rf"workload\.{next(iter(option))}: has no effect on "):
            rows({"kind": "trace", "path": path, **option})
    assert rows({"kind": "trace", "path": path, "timestamp_unit_s": 0.001}).arrival_ns[1] == 1_000_000


def test_totals(parse: Callable[..., Any]) -> None:
    """The progress bar knows the total where the study says it."""
    assert total_requests(parse(kind="trace", path="x", first=5)) == 5
    assert total_requests(parse(kind="trace", path="x")) is None
    assert total_requests(parse(kind="trace", path="x", first=5, bootstrap={"count": 9})) == 9


def test_times_beyond_a_run_are_refused(trace_file: Callable[..., str], rows: Callable[..., Any]) -> None:
    """Times, also scaled ones, beyond two years are refused before the run."""
    path = trace_file(FOUR)
    with pytest.raises(InputError, match="beyond"):
        rows({"kind": "trace", "path": path, "time_scale": 1e9})
    with pytest.raises(InputError, match="unit of time"):
        rows({"kind": "trace", "path": trace_file(HEADER + "0,1,1\n1e9,1,1\n")})


REAL = {
    "traces/azure_llm_2023_conv.csv.gz": (19_366, 1_154.697, 211.126),
    "traces/azure_llm_2023_code.csv.gz": (8_819, 2_047.848, 27.883),
    "traces/mooncake_conversation.jsonl.gz": (12_031, 12_035.061, 342.619),
    "traces/mooncake_synthetic.jsonl.gz": (3_993, None, None),
    "vidur-data/processed_traces/splitwise_conv.csv.gz": (19_366, 1_154.697, 211.126),
    "vidur-data/processed_traces/splitwise_code.csv.gz": (8_819, 2_047.848, 27.883),
    "vidur-data/processed_traces/arxiv_summarization_stats_llama2_tokenizer_filtered_v2.csv.gz": (28_257, None, None),
}


@pytest.mark.parametrize("name", REAL)
def test_real_traces_are_read_completely(shared: Path, rows: Callable[..., Any], name: str) -> None:
    """Row counts and means equal those documented beside the files; nothing is skipped or reordered."""
    count, prompt_mean, output_mean = REAL[name]
    section: dict[str, Any] = {"kind": "trace", "path": str(shared / name), "strict": True}
    if "arxiv" in name:
        section["arrivals"] = {"kind": "poisson", "request_rate": 1}
    notices: list[str] = []
    block = rows(section, notices=notices)
    assert len(block) == count
    assert notices == (
        [] if "arxiv" not in name else [f"{shared / name}: columns not used: num_total_tokens, pd_ratio"]
    )
    if prompt_mean is not None:
        assert block.prompt_tokens.mean() == pytest.approx(prompt_mean, abs=0.001)
        assert block.output_tokens.mean() == pytest.approx(output_mean, abs=0.001)


def test_azure_and_vidur_agree(shared: Path, rows: Callable[..., Any]) -> None:
    """Vidur's copy of the Azure conversation trace has the same rows at the same times to a microsecond."""
    azure = rows({"kind": "trace", "path": str(shared / "traces/azure_llm_2023_conv.csv.gz")})
    vidur = rows({"kind": "trace", "path": str(shared / "vidur-data/processed_traces/splitwise_conv.csv.gz")})
    assert np.abs(azure.arrival_ns - vidur.arrival_ns).max() <= 1000
    assert np.array_equal(azure.prompt_tokens, vidur.prompt_tokens)
    assert np.array_equal(azure.output_tokens, vidur.output_tokens)
