"""The scenario kinds of LLMPerfOracle behave here as its guide promises; its rules, where they are sound, are ours.

The studies are those of ``conf/studies/llmperforacle``.  What its code does otherwise is in ``docs/requirements.md``.
"""

import csv
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cluster_sim.config.loading.load import load_study
from cluster_sim.errors import InputError
from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.hardware.device import load_device
from cluster_sim.hardware.predictors.kinds.linear import LinearOptions, LinearPredictor
from cluster_sim.hardware.predictors.kinds.roofline import RooflineEfficiency, RooflinePredictor
from cluster_sim.serving.replica import Replica
from cluster_sim.simulation.plan import make_plan
from cluster_sim.simulation.run import RunResult, run_study
from cluster_sim.simulation.run_options import RunOptions
from tests.hardware.replicas import hardware

STUDIES = Path(__file__).resolve().parents[2] / "conf" / "studies" / "llmperforacle"
POOL = "fleet.pools.0"
NO_FIXED_COST = "{kind: linear, alpha_us: 0.001, beta_us: 32.356, gamma_us: 0}"
"""LLMPerfOracle's cost of a token in prefill, and none of a step."""

ITS_STEP_TIMES = "predictor={kind: roofline}"
"""The simulator that is compared with knows data-sheet figures only, and no time in an API server."""


class Runs:
    """Runs a study of the folder with settings of a test's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def __call__(self, name: str, *settings: str) -> RunResult:
        self._count += 1
        study = load_study(STUDIES / f"{name}.yaml", [ITS_STEP_TIMES, *settings])
        return run_study(study, RunOptions(executor="inline", out=self._folder / str(self._count)))


@pytest.fixture
def run(tmp_path: Path) -> Runs:
    """Runs studies below the test's folder."""
    return Runs(tmp_path)


def medians(result: RunResult) -> dict[str, float]:
    """Return the median TTFT, TPOT and E2E of a run in which every request finished, s."""
    requests = result.summary["requests"]
    assert requests["finished"] == requests["total"] > 80
    return {name: result.summary[f"{name}_s"]["p50"] for name in ("ttft", "tpot", "e2e")}


def test_tensor_parallelism_is_faster(run: Runs) -> None:
    """Two GPUs a layer lower TTFT, TPOT and E2E, by less than a factor of two, since all-reduces cost something."""
    one, two = medians(run("tensor_parallel", f"{POOL}.tensor_parallel=1")), medians(run("tensor_parallel"))
    for name, value in two.items():
        assert 0.5 * one[name] < value < 0.8 * one[name], name


def test_pipeline_latency_is_reasonable(run: Runs) -> None:
    """Two and four stages keep TTFT and E2E below twice those of one GPU, as its regression test wants."""
    one = medians(run("pipeline_parallel", f"{POOL}.pipeline_parallel=1"))
    for stages in (2, 4):
        many = medians(run("pipeline_parallel", f"{POOL}.pipeline_parallel={stages}"))
        assert many["ttft"] < 2 * one["ttft"]
        assert one["e2e"] < many["e2e"] < 2 * one["e2e"]


def test_mixed_parallelism_works(run: Runs) -> None:
    """Two stages of two GPUs: everything finishes, faster than with two stages of one."""
    mixed = medians(run("pipeline_parallel", f"{POOL}.tensor_parallel=2"))
    stages = medians(run("pipeline_parallel"))
    for name, value in mixed.items():
        assert value < stages[name], name


def test_prefix_caching_lowers_ttft(run: Runs) -> None:
    """Later turns find earlier ones: more than half of all prompt tokens, and TTFT and E2E fall."""
    cached = run("conversations")
    plain = run("conversations", f"{POOL}.engine.enable_prefix_caching=false")
    assert cached.summary["cached_tokens"] > 0.5 * cached.summary["prompt_tokens"]
    assert plain.summary["cached_tokens"] == 0
    assert medians(cached)["ttft"] < 0.8 * medians(plain)["ttft"]
    assert cached.summary["e2e_s"]["p50"] < plain.summary["e2e_s"]["p50"]


def test_turns_come_after_their_answers(run: Runs) -> None:
    """A later turn arrives at least the think floor after the previous answer, which its prompt contains."""
    import pyarrow.parquet as pq

    table = pq.read_table(run("conversations").directory / "requests.parquet")
    turns: dict[int, list[dict[str, Any]]] = {}
    for row in table.sort_by("request_id").to_pylist():
        if row["session_id"] is not None:
            turns.setdefault(row["session_id"], []).append(row)
    several = [each for each in turns.values() if len(each) > 1]
    assert len(several) > 20
    for session in several:
        for before, after in pairwise(session):
            assert after["arrival_s"] >= before["finish_s"] + 0.010 - 1e-9
            assert after["prompt_tokens"] > before["prompt_tokens"] + before["output_tokens"]


def test_chunks_only_reorder(run: Runs) -> None:
    """Where a token costs the same in any chunk, chunks of 512 do the same work in the same time as whole prompts, in
    more iterations and with smaller worst gaps between tokens.
    """
    common = f"predictor={NO_FIXED_COST}", f"{POOL}.engine.enable_prefix_caching=false", "workload.duration_s=20"
    chunked = run("long_prompts", *common)
    whole = run("long_prompts", *common, f"{POOL}.engine.max_num_batched_tokens=8192")
    assert chunked.summary["requests"] == whole.summary["requests"]
    assert chunked.summary["iterations"] > whole.summary["iterations"]
    assert chunked.summary["itl_s"]["max"] < 0.5 * whole.summary["itl_s"]["max"]
    busy = [
        sum(each["busy_ratio"] * result.summary["simulated_s"] for each in result.summary["replicas"])
        for result in (chunked, whole)
    ]
    assert busy[0] == pytest.approx(busy[1], rel=1e-4)


def test_model_that_does_not_fit_is_refused() -> None:
    """70B on one GPU of 80 GB and 405B on two are refused with the numbers, on four 70B fits: TP and PP count too."""

    def plan(model: str, tensor: int, stages: int) -> None:
        settings = f"{POOL}.model={model}", f"{POOL}.tensor_parallel={tensor}", f"{POOL}.pipeline_parallel={stages}"
        make_plan(load_study(STUDIES / "tensor_parallel.yaml", settings))

    for model, tensor, stages in (("llama-3-70b", 1, 1), ("llama-3.1-405b", 2, 1), ("llama-3.1-405b", 1, 2)):
        with pytest.raises(InputError, match=r"does not fit h100-sxm.* GiB for weights"):
            plan(model, tensor, stages)
    plan("llama-3-70b", 4, 1)
    plan("llama-3-70b", 2, 2)


def test_macro_steps_are_the_level_of_detail(run: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """One switch, ``run.macro_steps``: with it a lightly loaded server schedules less than a twentieth of its
    steps one by one, and unlike a coarser model it changes no result.
    """
    scheduled = 0
    schedule = Replica._schedule

    def count(replica: Replica) -> None:
        nonlocal scheduled
        scheduled += 1
        schedule(replica)

    monkeypatch.setattr(Replica, "_schedule", count)
    light = "workload.arrivals.request_rate=2", "workload.duration_s=60"
    fine = run("single_profile", *light, "run.macro_steps=false")
    by_step, scheduled = scheduled, 0
    coarse = run("single_profile", *light)
    assert coarse.digest == fine.digest
    assert by_step >= fine.summary["iterations"] == coarse.summary["iterations"]
    assert scheduled < by_step / 20


def test_engines_side_by_side(run: Runs) -> None:
    """Several engines serve in one run, each pool with its own."""
    pools = (
        "fleet.pools=[{name: a, model: llama-3-8b, device: h100-sxm, engine: {kind: vllm_v1}},"
        " {name: b, model: llama-3-8b, device: h100-sxm, engine: {kind: sglang}}]"
    )
    result = run("tensor_parallel", pools)
    assert medians(result)["ttft"] > 0
    assert [pool["requests"]["finished"] > 30 for pool in result.summary["pools"]] == [True, True]


def rows(path: Path) -> list[dict[str, str]]:
    """Return a reference table's rows."""
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def linear(beta_us: float) -> LinearPredictor:
    """Return the linear predictor with next to no constant."""
    return LinearPredictor(LinearOptions(alpha_us=1e-6, beta_us=beta_us), hardware())


def test_costs_of_one_gpu_are_linear(shared: Path) -> None:
    """Its cost model on one GPU is ours with beta alone: 16e9 FLOPs a prompt token at half of 989 TFLOP/s, and 64e6
    bytes (x 1.5 or 1.25) a decode token at 0.8 of 3350 GB/s, whatever is in the cache.
    """
    folder = shared / "llmperforacle-ref"
    prefill = linear(1e6 * 16e9 / (0.5 * 989e12))
    for row in rows(folder / "cost_prefill.csv"):
        if row["tp"] == "1":
            tokens = int(row["chunk_tokens"])
            step_ns = prefill.step_ns(BatchShape(prefills=[(tokens, 0)], completed_prefills=1))
            assert step_ns / 1e9 == pytest.approx(float(row["seconds"]), abs=1e-9)
    writes = {"high": 1.5, "medium": 1.25}
    decode = {lod: linear(1e6 * 64e6 * factor / (0.8 * 3350e9)) for lod, factor in writes.items()}
    for row in rows(folder / "cost_decode_step.csv"):
        if row["tp"] == "1":
            batch, kv = int(row["batch"]), int(row["kv_tokens_per_sequence"])
            step_ns = decode[row["lod"]].step_ns(BatchShape(decodes=batch, decode_kv_tokens=batch * kv))
            assert step_ns / 1e9 == pytest.approx(float(row["seconds"]), abs=1e-9)


def test_all_reduce_is_a_ring(shared: Path) -> None:
    """What its coarse level of detail adds to a divided prefill is one ring all-reduce, 2 (t - 1) / t of the
    activations and 2 (t - 1) latencies of 1 us; a layer has two of ours, with one latency each.
    """
    device = load_device("h100-sxm")
    link = device.interconnect.model_copy(update={"bandwidth_bytes_per_s": 3.6e12 / 8, "latency_us": 0.0})
    device = device.model_copy(update={"interconnect": link})
    table = rows(shared / "llmperforacle-ref" / "cost_prefill.csv")
    seconds = {(row["lod"], int(row["tp"]), int(row["chunk_tokens"])): float(row["seconds"]) for row in table}
    degrees = {degree for lod, degree, _ in seconds if lod == "medium" and degree > 1}
    assert degrees
    for degree in degrees:
        roofline = RooflinePredictor(hardware("llama-3-8b", device, degree), RooflineEfficiency(link_ratio=1))
        for lod, other, tokens in seconds:
            if (lod, other) == ("medium", degree) and tokens >= 1024:
                ring_us = 1e6 * (seconds["medium", degree, tokens] - seconds["medium", 1, tokens] / degree)
                ours_us = roofline.layer_all_reduce_us(tokens) / 2
                assert ours_us == pytest.approx(ring_us - 2 * (degree - 1), rel=1e-6)
