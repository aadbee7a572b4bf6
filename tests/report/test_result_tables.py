"""Tests of the table at the end of a run."""

import io

import pytest
from rich.console import Console

from cluster_sim.report.result_tables import (
    coverage_text,
    duration_text,
    gpus_text,
    limit_text,
    print_report,
    total_rows,
    verdict_sentence,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.0, "0 s"),
        (0.000012, "12 us"),
        (0.01234, "12.3 ms"),
        (0.9999, "1000 ms"),
        (1.5, "1.5 s"),
        (1234.0, "1234 s"),
        (36_000.0, "10.00 h"),
    ],
)
def test_durations_have_the_unit_that_suits_them(seconds: float | None, text: str) -> None:
    """Durations show three significant digits in us, ms, s or h."""
    assert duration_text(seconds) == text


def _distribution(exact: bool) -> dict[str, object]:
    names = ("mean", "std", "min", "p50", "p90", "p95", "p99", "max")
    return {"count": 5, "exact": exact, **dict.fromkeys(names, 0.25)}


def _summary() -> dict[str, object]:
    return {
        "ttft_s": _distribution(exact=True),
        "tpot_s": _distribution(exact=True),
        "itl_s": _distribution(exact=False),
        "e2e_s": _distribution(exact=True),
        "queue_s": _distribution(exact=True),
        "requests": {"finished": 5, "refused": 1, "failed": 0, "total": 6},
        "simulated_s": 3.0,
        "window": {"start_s": 0.5, "end_s": 2.5, "warmup": "auto", "measure": "auto"},
        "whole_run": {"requests": {"total": 9}},
        "throughput": {"requests_per_s": 1.5, "output_tokens_per_s": 300.0, "total_tokens_per_s": 1500.0},
        "preemptions": 0,
        "gpu_hours": 0.5,
        "gpus": 8,
        "cost_usd": 1.5,
        "usd_per_million_output_tokens": 2.0,
        "usd_per_million_tokens": None,
        "predictor": "uncalibrated roofline",
        "energy": {"energy_kwh": 1.25, "j_per_output_token": 1.7311},
        "slo": {
            "limits": [
                {
                    "name": "ttft_p99_s",
                    "limit_s": 0.2,
                    "value_s": 0.25,
                    "low_s": 0.2125,
                    "high_s": 0.2875,
                    "verdict": "missed",
                    "is_met": False,
                },
            ],
            "verdict": "missed",
            "classes": [
                {
                    "match": {"tenant": "blue", "priority": -1},
                    "limits": [
                        {"name": "e2e_mean_s", "limit_s": 2.0, "value_s": None, "lost": 1, "verdict": "missed"},
                    ],
                }
            ],
            "good_requests_ratio": 0.5,
            "left_out": 3,
        },
        "predictor_coverage": {"case": "seen", "is_near_saturation": True},
        "warnings": ["Pool main sits on the edge."],
        "checks": {"little": {"holds": False}},
    }


def test_report_shows_every_figure() -> None:
    """Latencies, throughput, attainment, GPU-hours, cost, the predictor's label, broken laws and notes are printed."""
    out = io.StringIO()
    print_report(Console(file=out, width=120), _summary(), ("written to runs/x",))
    text = out.getvalue()
    for part in (
        "first token (TTFT)", "250 ms", "~250 ms", "5 finished, 1 refused", "uncalibrated roofline", "0.500 on 8 GPUs",
        "$2.000 (objectives missed)", "1.250 kWh", "1.73 J", "50.00%",
        "ttft p99 250 ms (212-288), limit 200 ms: missed",
        "tenant blue, priority -1: e2e mean among lost requests, limit 2 s: missed",
        "50.00% (3 cut off by the end of the run are left out)",
        "Latency of the 5 requests of 6 that finished; inter-token (ITL) of all 9",
        "6 of 9, 500 ms to 2.5 s", "check failed: little",
        "written to runs/x", "(seen, near saturation)", "Pool main sits on the edge.",
    ):  # fmt: skip
        assert part in text, part


@pytest.mark.parametrize(
    ("finished", "total", "everyone", "text"),
    [
        (6, 6, 6, "of 6 requests"),
        (1, 1, 1, "of 1 request"),
        (5, 6, 6, "of the 5 requests of 6 that finished; inter-token (ITL) of all 6"),
        (6, 6, 9, "of 6 requests; inter-token (ITL) of all 9"),
    ],
)
def test_the_heading_says_whose_latencies_stand_below(finished: int, total: int, everyone: int, text: str) -> None:
    """Gaps between tokens are those of every request of the run; the heading says so where the other rows have fewer:
    one of six was cancelled, or three of nine came before the measured part.
    """
    summary = {"requests": {"finished": finished, "total": total}, "whole_run": {"requests": {"total": everyone}}}
    assert coverage_text(summary) == text


def test_gpus_of_a_fleet_that_changed() -> None:
    """A fleet of 1 to 9 GPUs says its mean and the most, one that stays its size, an older summary the start."""
    assert gpus_text({"gpus": 1, "mean_gpus": 8.33, "most_gpus": 9}) == "8.3 GPUs on average, 9 at most"
    assert gpus_text({"gpus": 8, "mean_gpus": 8.0, "most_gpus": 8}) == "8 GPUs"
    assert gpus_text({"gpus": 1}) == "1 GPU"


def test_figures_say_their_span_where_two_differ() -> None:
    """With a measured window GPU-hours and cost are its own, energy and preemptions the run's; without one, nothing."""
    summary = _summary()
    labels = [label for label, _ in total_rows(summary)]
    assert {"GPU-hours, measured part", "cost, measured part", "energy, whole run", "preemptions, whole run"} <= {
        *labels
    }
    summary["window"] = {"start_s": 0.0, "end_s": 3.0, "warmup": "none", "measure": "none"}
    assert {"GPU-hours", "cost", "energy", "preemptions"} <= {label for label, _ in total_rows(summary)}


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        ((0.79, 0.6715, 0.9085, 2.0), "ttft p99 790 ms (672-908), limit 2 s"),
        ((1.79, 1.5215, 2.0585, 2.0), "ttft p99 1.79 s (1.52-2.06), limit 2 s"),
        ((0.79, None, None, 2.0), "ttft p99 790 ms (error unknown), limit 2 s"),
        ((None, None, None, 2.0), "ttft p99 -, limit 2 s"),
    ],
)
def test_a_limit_is_one_line(limit: tuple[float | None, ...], text: str) -> None:
    """Name, value, the band in the value's unit, and the limit; a value without a known band says so."""
    names = ("value_s", "low_s", "high_s", "limit_s")
    assert limit_text({"name": "ttft_p99_s", **dict(zip(names, limit, strict=True))}) == text


def test_tables_fit_80_columns_and_notes_stay_whole() -> None:
    """Nothing is cut or broken at 80 columns, whatever the figures; a note longer than the line is one line."""
    out = io.StringIO()
    summary = _summary()
    wide = {**_distribution(exact=False), "p99": 0.0001234, "max": 9_999.0, "mean": 0.9999}
    summary |= {"ttft_s": wide, "itl_s": wide}
    note = "results in " + "/a long directory" * 10
    print_report(Console(file=out, width=80), summary, (note,))
    lines = out.getvalue().splitlines()
    assert note in lines
    assert max(len(line) for line in lines if line != note and "check failed" not in line) <= 80
    row = next(line for line in lines if line.startswith("first token (TTFT)"))
    assert row.split("  ")[-1].strip() == "9999 s"
    assert " ".join(row.split()) == "first token (TTFT) 1000 ms ~250 ms ~250 ms ~250 ms ~123 us 9999 s"


def test_figures_are_whole_on_a_narrow_terminal() -> None:
    """At 40 columns every figure is there as it is at 120."""
    texts = []
    for width in (120, 40):
        out = io.StringIO()
        print_report(Console(file=out, width=width), _summary())
        texts.append(out.getvalue().split())
    assert texts[0] == texts[1]


def test_the_verdict_in_a_sentence() -> None:
    """The verdict comes with the limits that are not met; a study without limits has none."""
    summary = _summary()
    assert verdict_sentence(summary) == (
        "Objectives missed: ttft p99 250 ms (212-288), limit 200 ms: missed; "
        "tenant blue, priority -1: e2e mean among lost requests, limit 2 s: missed."
    )
    met = {"limits": [], "classes": [], "verdict": None}
    assert verdict_sentence({"slo": met}) == "No objectives are set."
    limit = {"name": "ttft_p99_s", "limit_s": 0.5, "value_s": 0.25, "low_s": None, "high_s": None, "verdict": "met"}
    met = {"limits": [limit], "classes": [], "verdict": "met"}
    assert verdict_sentence({"slo": met}) == "Objectives met: every limit is kept."
