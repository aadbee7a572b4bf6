"""Runs as long as a judgement needs: lengths of drawn workloads and traces."""

from pathlib import Path

import pytest

from cluster_sim.config.loading.load import load_study
from cluster_sim.config.schema.study import Study
from cluster_sim.study.capacity import CapacityTask, Search, rate_of, search_capacity
from cluster_sim.study.steady_runs import lengthened
from cluster_sim.workload.build import build_columns

STUDY = """\
name: small
workload: {WORKLOAD}
fleet: {pools: [{model: llama-3-8b, device: h100-sxm, engine: {kind: vllm_v1}}]}
predictor: {kind: roofline}
slo: {ttft_p99_s: 1, tpot_p99_s: 0.05}
run: {end_s: 100}
"""

TRACE = "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(
    f"2023-11-16 18:{second // 60:02}:{second % 60:02},{400 + second},{90 + second}\n" for second in range(0, 100, 5)
)


def study(folder: Path, workload: str) -> Study:
    """Return a study of a workload, in a folder that has the trace."""
    (folder / "trace.csv").write_text(TRACE)
    path = folder / "study.yaml"
    path.write_text(STUDY.replace("{WORKLOAD}", workload))
    return load_study(path)


SYNTHETIC = """{kind: synthetic, count: 20, duration_s: 9, arrivals: {kind: poisson, request_rate: 10},
  lengths: {prompt: {kind: fixed, value: 450}, output: {kind: fixed, value: 140}}}"""
REPLAY = "{kind: trace, path: trace.csv}"
DRAWN_TIMES = "{kind: trace, path: trace.csv, arrivals: {kind: poisson, request_rate: 3}}"


def arrivals(longer: Study) -> list[int]:
    """Return the arrivals of a study's workload in ns."""
    blocks = build_columns(longer.workload, longer.seed).columns()
    return [int(arrival) for block in blocks for arrival in block.arrival_ns]


@pytest.mark.parametrize(("workload", "spread"), [(SYNTHETIC, 0.15), (REPLAY, 0.06), (DRAWN_TIMES, 0.5)])
def test_any_length_at_any_rate(tmp_path: Path, workload: str, spread: float) -> None:
    """A workload of 20 requests gives 500 at 5 a second, and the run ends when all have."""
    longer = lengthened(study(tmp_path, workload), 5.0, 500)
    times = arrivals(longer)
    assert len(times) == 500
    assert times == sorted(times)
    assert 499e9 / (times[-1] - times[0]) == pytest.approx(5.0, rel=spread)
    assert longer.run.end_s is None


def test_a_trace_that_is_long_enough_is_replayed_as_it_is(tmp_path: Path) -> None:
    """Twenty rows are enough for ten requests: nothing is resampled, all are replayed."""
    times = arrivals(lengthened(study(tmp_path, REPLAY), 1.0, 10))
    assert len(times) == 20
    assert (times[-1] - times[0]) / 1e9 == pytest.approx(19)


def test_a_short_trace_has_a_capacity(tmp_path: Path) -> None:
    """A trace of twenty rows is bounded, and serves about as much as drawn requests of its mean lengths."""
    answers = []
    for workload in (REPLAY, SYNTHETIC):
        small = study(tmp_path, workload)
        answers.append(search_capacity(CapacityTask(small, Search(rate_of(small) or 1.0, 0.05))))
    assert [answer.status for answer in answers] == ["found", "found"]
    assert answers[0].rate_per_s == pytest.approx(answers[1].rate_per_s, rel=0.2)
