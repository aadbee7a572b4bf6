"""Tables of several configurations: short keys, whole figures, what does not fit."""

import io

from rich.console import Console

from cluster_sim.report.configuration_table import Figure, print_configurations, short_names
from cluster_sim.report.console import PIPE_WIDTH
from cluster_sim.report.result_tables import cost_text
from cluster_sim.report.sweep_report import print_sweep, result_text
from cluster_sim.report.task_progress import TaskProgress

KEYS = ["fleet.pools.0.device", "fleet.pools.1.device", "seed"]
ROW = {
    **dict.fromkeys(KEYS, "x"),
    "status": "finished",
    "error": None,
    "slo.verdict": "missed",
    "ttft_s.p99": 0.79,
    "tpot_s.p99": 0.0123,
    "e2e_s.p99": 12.0,
    "throughput.requests_per_s": 12345.678,
    "throughput.output_tokens_per_s": 1234567.0,
    "gpus": 8,
    "usd_per_million_output_tokens": 1.25,
}


def printed(width: int) -> str:
    """Return the table of one run on a console of a width."""
    out = io.StringIO()
    print_sweep(Console(file=out, width=width), [ROW], KEYS, "results.csv")
    return out.getvalue()


def test_keys_are_as_short_as_they_differ() -> None:
    """A key is called by the end that no other key has."""
    assert short_names(KEYS) == ["0.device", "1.device", "seed"]
    assert short_names(["a.b", "b"]) == ["a.b", "b"]


def test_figures_are_whole_at_every_width() -> None:
    """What fits is whole; what does not is named with the file that has it, and a pipe has all of it."""
    wide = printed(PIPE_WIDTH)
    for text in (
        "missed",
        "790 ms",
        "12.3 ms",
        "12,345.68",
        "1,234,567",
        "$1.250 (objectives missed)",
        "12 s",
    ):
        assert text in wide
    assert "Not shown" not in wide
    narrow = printed(80)
    table, _, rest = narrow.partition("Not shown here: ")
    assert max(map(len, table.splitlines())) <= 80
    assert "12,345.68" in table
    assert rest.endswith("tokens out/s, E2E p99; see results.csv\n")


def test_a_failed_run_is_told_in_the_table() -> None:
    """A run without figures has its status in place of the verdict."""
    out = io.StringIO()
    failed = {**dict.fromkeys(KEYS, "x"), "status": "failed", "error": "does not fit"}
    print_sweep(Console(file=out, width=PIPE_WIDTH), [ROW, failed], KEYS, "results.csv")
    assert out.getvalue().splitlines()[-1].split()[:6] == ["x", "x", "x", "failed", "-", "-"]


def test_a_sweep_says_how_sure_its_verdicts_are() -> None:
    """Below the table stand the cases of the error bands with the number of runs of each."""
    out = io.StringIO()
    rows = [{**ROW, "predictor_coverage.case": case} for case in ("seen", "engine_unseen", "seen")]
    print_sweep(Console(file=out, width=PIPE_WIDTH), rows, KEYS, "results.csv")
    assert "seen (2 runs), engine unseen (1 run); if known, error_band_percent in results.csv" in out.getvalue()


def test_a_table_of_one_column_of_figures() -> None:
    """However narrow the terminal is, the most important figure is shown."""
    out = io.StringIO()
    figures = [Figure("first", lambda _: "1"), Figure("second", lambda _: "2")]
    print_configurations(Console(file=out, width=10), [{"seed": 1}], ["seed"], figures, "file")
    assert "first" in out.getvalue()
    assert "Not shown here: second; see file" in out.getvalue()


def test_cost_of_missed_objectives() -> None:
    """A cost per token says where the objectives were not met."""
    assert [cost_text(1.5, verdict) for verdict in (None, "met", "missed", "too_close")] == [
        "$1.500",
        "$1.500",
        "$1.500 (objectives missed)",
        "$1.500 (objectives too close)",
    ]
    assert cost_text(None, "met") == "-"


def test_results_in_a_line() -> None:
    """A run is told by its verdict, its TTFT and its throughput, a failed one by its error."""
    assert result_text(ROW) == "objectives missed, TTFT p99 790 ms, 12,345.68 requests/s"
    assert result_text(ROW | {"slo.verdict": None}) == "TTFT p99 790 ms, 12,345.68 requests/s"
    assert result_text({"status": "failed", "error": "does not fit"}) == "failed: does not fit"


def test_progress_counts_what_is_done() -> None:
    """Done of all, the time left at the mean pace of those that took time, the label, the result."""
    times = iter([0.0, 10.0, 400.0])
    progress = TaskProgress(12, lambda: next(times))
    assert progress.line("a=1", "invalid", is_instant=True) == " 1/12: a=1: invalid"
    assert progress.line("a=2", "fine") == " 2/12, 2 min left: a=2: fine"
    assert progress.line("a=3", "fine") == " 3/12, 30 min left: a=3: fine"
