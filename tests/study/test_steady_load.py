"""Runs at any rate and of any length: drawn workloads and traces."""

from pathlib import Path

import pytest

from cluster_sim.config.loading.load import load_study
from cluster_sim.config.schema.study import Study
from cluster_sim.study.steady_load import SteadyRun, at_rate, check_rate, steady_task
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


@pytest.mark.parametrize(("workload", "spread"), [(SYNTHETIC, 0.15), (REPLAY, 0.1), (DRAWN_TIMES, 0.5)])
def test_any_length_at_any_rate(tmp_path: Path, workload: str, spread: float) -> None:
    """A workload of 20 requests gives 500 at 5 a second, and the run ends when all have."""
    longer = at_rate(study(tmp_path, workload), 5.0, 500)
    times = arrivals(longer)
    assert len(times) == 500
    assert times == sorted(times)
    assert 499e9 / (times[-1] - times[0]) == pytest.approx(5.0, rel=spread)
    assert longer.run.end_s is None


def test_a_trace_that_is_long_enough_is_replayed_as_it_is(tmp_path: Path) -> None:
    """Twenty rows are enough for ten requests: replication 0 replays them all, the others draw as many from them."""
    times = arrivals(at_rate(study(tmp_path, REPLAY), 1.0, 10))
    assert len(times) == 20
    assert (times[-1] - times[0]) / 1e9 == pytest.approx(19)
    others = [arrivals(at_rate(study(tmp_path, REPLAY), 1.0, 10, number)) for number in (1, 2)]
    assert [len(other) for other in others] == [20, 20]
    assert times != others[0] != others[1]


def test_rates_share_their_random_numbers(tmp_path: Path) -> None:
    """Runs of one number at two rates have the same arrivals, twice as far apart; the first fifth fills the fleet."""
    base = study(tmp_path, SYNTHETIC)
    tasks = [steady_task(base, SteadyRun(rate, 3, 50)) for rate in (10.0, 5.0)]
    near, far = (arrivals(task.study) for task in tasks)
    assert far == pytest.approx([2 * arrival for arrival in near], rel=1e-8)
    assert tasks[0].study.seed == tasks[1].study.seed != base.seed
    assert tasks[0].warm_up_ratio == 0.2


def test_a_load_that_changes_is_measured_whole(tmp_path: Path) -> None:
    """A fifth of the requests is left out of a drawn steady load and of a resampled trace; of a spike, and of a trace
    replayed as it is, which has 20 rows, none is.
    """
    spike = "{kind: spike, request_rate: 10, spike_rate: 100, at_s: 0, spike_s: 1}"
    burst = SYNTHETIC.replace("{kind: poisson, request_rate: 10}", spike)

    def ratio(workload: str, requests: int) -> float | None:
        return steady_task(study(tmp_path, workload), SteadyRun(2.0, 0, requests)).warm_up_ratio

    assert [ratio(workload, 50) for workload in (SYNTHETIC, DRAWN_TIMES, REPLAY, burst)] == [0.2, 0.2, 0.2, 0.0]
    assert ratio(REPLAY, 10) == 0.0


def test_the_study_s_own_rate(tmp_path: Path) -> None:
    """The rate is that of the arrivals; a trace at its own rate names none."""
    assert check_rate(study(tmp_path, SYNTHETIC)) == 10.0
    assert check_rate(study(tmp_path, REPLAY)) is None
