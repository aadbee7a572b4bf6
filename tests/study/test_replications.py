"""Replications: seeds, common random numbers, figures with intervals, verdicts, sequential stopping."""

from pathlib import Path

import numpy as np
import pytest

from cluster_sim.config.loading.load import load_study
from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.metrics.verdicts import Verdict
from cluster_sim.study.limited_figures import load_limits
from cluster_sim.study.replications import (
    Replications,
    ReplicationTask,
    decided,
    precise_to,
    replicate,
    replicate_until,
    replication_of,
    replication_seed,
    run_replication,
)
from cluster_sim.workload.build import build_columns

STUDY = """\
name: queue
seed: 3
workload: {WORKLOAD}
fleet: {pools: [{model: llama-3-8b, device: h100-sxm, engine: {kind: orca, max_num_seqs: 1}}]}
predictor: {kind: linear, alpha_us: 1, beta_us: 1000}
slo: {SLO}
run: {executor: inline}
"""
SYNTHETIC = """{kind: synthetic, count: 200, arrivals: {kind: poisson, request_rate: 0.5},
  lengths: {prompt: {kind: exponential, mean: 1000, min: 1, max: 8000}, output: {kind: fixed, value: 1}},
  traits: {tenant: a}}"""
TRACE = "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(
    f"2023-11-16 18:{second // 60:02}:{second % 60:02},{400 + second},1\n" for second in range(0, 100, 2)
)


def study(folder: Path, workload: str = SYNTHETIC, slo: str = "{e2e_p90_s: 8}") -> Study:
    (folder / "trace.csv").write_text(TRACE)
    path = folder / "study.yaml"
    path.write_text(STUDY.replace("{WORKLOAD}", workload).replace("{SLO}", slo))
    return load_study(path)


def test_seeds() -> None:
    """Number 0 has the study's seed; others have seeds of their own that neighbouring studies do not share."""
    seeds = {replication_seed(seed, number) for seed in (1, 2, 3) for number in range(20)}
    assert len(seeds) == 60
    assert replication_seed(7, 0) == 7
    assert replication_seed(7, 5) == replication_seed(7, 5)


def test_studies_share_their_random_numbers(tmp_path: Path) -> None:
    """Two fleets see the same requests in replications of one number, and others in those of another."""
    base = study(tmp_path)
    other = base.model_copy(update={"name": "other"})
    rows = [
        np.concatenate([block.prompt_tokens for block in build_columns(run.workload, run.seed).columns()])
        for run in (replication_of(base, 2), replication_of(other, 2), replication_of(base, 3))
    ]
    assert rows[0].tolist() == rows[1].tolist() != rows[2].tolist()


def test_a_trace_is_resampled(tmp_path: Path) -> None:
    """Number 0 is the trace itself; the others draw its rows, as many of them, in windows."""
    base = study(tmp_path, "{kind: trace, path: trace.csv}")
    assert replication_of(base, 0) == base
    resampled = replication_of(base, 1)
    blocks = [block.prompt_tokens for block in build_columns(resampled.workload, resampled.seed).columns()]
    tokens = np.concatenate(blocks).tolist()
    assert len(tokens) == 50
    assert set(tokens) < {400 + second for second in range(0, 100, 2)}


def test_in_memory_as_with_a_summary(tmp_path: Path) -> None:
    """The same latencies come from a run in memory and from one whose summary is wanted; the latter has its figures."""
    base = study(
        tmp_path,
        slo="{e2e_p90_s: 8, classes: [{match: {tenant: a}, ttft_p90_s: 6}, {match: {tenant: b}, ttft_p90_s: 6}]}",
    )
    lean, whole = (run_replication(ReplicationTask(base, has_summary=has_summary)) for has_summary in (False, True))
    assert set(lean.samples) == {"ttft_s", "tpot_s", "e2e_s", "tenant a: ttft_s", "tenant b: ttft_s"}
    for name, values in lean.samples.items():
        np.testing.assert_array_equal(values, whole.samples[name])
    assert len(lean.samples["tenant a: ttft_s"]) == len(lean.samples["ttft_s"]) > 0
    assert len(lean.samples["tenant b: ttft_s"]) == 0
    assert Replications((lean,)).worst_verdict(load_limits(base.slo)[1:]) is not Verdict.MISSED
    assert whole.figures["e2e_s.mean"] == pytest.approx(float(lean.samples["e2e_s"].mean()))
    assert len(lean.samples["e2e_s"]) == whole.figures["e2e_s.count"]
    assert 0 < whole.figures["flat.fairness_index"] <= 1
    assert lean.figures == {}
    assert len(run_replication(ReplicationTask(base, warm_up_ratio=0.25)).samples["e2e_s"]) == 150


def test_figures_with_intervals(tmp_path: Path) -> None:
    """Every figure of the summary has an interval; the 90th percentile is that of all requests together."""
    found = replicate(study(tmp_path), 5)
    assert [run.number for run in found.runs] == [0, 1, 2, 3, 4]
    for name in ("flat.fairness_index", "flat.starvation_rate", "flat.avg_queue_wait", "flat.avg_batch_size"):
        estimate = found.figure(name)
        assert estimate.interval.low <= estimate.value <= estimate.interval.high
    assert set(found.figures()) >= {"cost_usd", "throughput.requests_per_s", "e2e_s.p99"}
    together = np.sort(np.concatenate([run.samples["e2e_s"] for run in found.runs]))
    quantile = found.quantile("e2e_s", 0.9)
    assert quantile is not None
    assert quantile.value == together[int(np.ceil(len(together) * 0.9)) - 1]
    with pytest.raises(KeyError, match="nothing_s"):
        found.figure("nothing_s")


@pytest.mark.parametrize(
    ("slo", "verdict"),
    [
        ("{e2e_p90_s: 100}", Verdict.MET),
        ("{e2e_p90_s: 0.1}", Verdict.MISSED),
        ("{tpot_p99_s: 0.001}", Verdict.MET),
        ("{itl_p99_s: 0.001}", Verdict.MET),
    ],
)
def test_verdicts(tmp_path: Path, slo: str, verdict: Verdict) -> None:
    """A limit beyond the whole interval is met, one below it is missed; one on what no request has is met."""
    base = study(tmp_path, slo=slo)
    found = replicate(base, 5, has_summary=False)
    assert found.worst_verdict(load_limits(base.slo)) is verdict


def test_sequential_stopping(tmp_path: Path) -> None:
    """Runs are added until the interval is as narrow as wanted, or until the limit is decided, and no further."""
    base = study(tmp_path)
    found = replicate_until(base, precise_to(0.2, lambda runs: runs.mean("e2e_s")), has_summary=False)
    estimate = found.mean("e2e_s")
    assert estimate is not None
    assert estimate.half_width_ratio <= 0.2
    assert 5 <= len(found.runs) < 30
    fewer = Replications(found.runs[:5]).mean("e2e_s")
    assert len(found.runs) == 5 or (fewer is not None and fewer.half_width_ratio > 0.2)
    near = found.quantile("e2e_s", 0.9)
    assert near is not None
    close = study(tmp_path, slo=f"{{e2e_p90_s: {near.value}}}")
    assert len(replicate_until(close, decided(load_limits(close.slo)), most=8, has_summary=False).runs) == 8


def test_lost_requests_miss_a_mean(tmp_path: Path) -> None:
    """A refused request is infinitely late: no limit on a mean is met."""
    base = study(
        tmp_path,
        SYNTHETIC.replace("mean: 1000, min: 1, max: 8000", "mean: 2500, min: 1, max: 20000"),
        "{e2e_mean_s: 1000}",
    )
    found = replicate(base, 3, has_summary=False)
    assert found.runs[0].lost
    assert 0 < found.runs[0].lost_ratio < 0.1
    assert found.worst_verdict(load_limits(base.slo)) is Verdict.MISSED


def test_wrong_studies(tmp_path: Path) -> None:
    """A study that makes no plan is wrong input."""
    base = study(tmp_path)
    pool = base.fleet.pools[0].model_copy(update={"device": "abacus"})
    fleet = base.fleet.model_copy(update={"pools": [pool]})
    with pytest.raises(InputError, match="abacus"):
        replicate(base.model_copy(update={"fleet": fleet}), 2)
