"""Hand-worked trajectories of the other scalers for a step, a ramp and a burst."""

from typing import Any

import pytest

from cluster_sim.routing.scaling.load_prediction import LoadPredictor
from cluster_sim.routing.scaling.metrics import PoolMetrics, ReplicaFigures, ScalerMetrics
from tests.routing.scaling.drive import NS, Load, build, drive, options_of, scaled_pool, step

KNATIVE: dict[str, Any] = {"kind": "knative", "target": 10, "max_replicas": 100}
"""Seven requests a replica: a target of 10 at 70 %."""
RAY: dict[str, Any] = {"kind": "ray_serve", "max_replicas": 100}
LLM_D: dict[str, Any] = {"kind": "llm_d_variant", "queue_threshold": 1000, "spare_queue": 0}
PLANNER: dict[str, Any] = {
    "kind": "dynamo_planner",
    "prefill_profile": [{"prompt_tokens": 1000, "tokens_per_s": 10_000, "ttft_ms": 100}],
    "decode_profile": [{"context_tokens": 1050, "itl_ms": 20, "tokens_per_s": 1000}],
}
ORACLE: dict[str, Any] = {"kind": "oracle", "requests_per_s": 2}


def test_knative_step() -> None:
    """7 -> 70 at 60 s.  62 s: the panic window holds 7, 7, 70, a mean of 28, so 4 of 1 ready: panic.  64 s: 49, so 7;
    66 s: 70, so 10.  When panic ends at 124 s the stable window asks for 10 too.
    """
    assert drive(step(7, 70, 60), 300, **KNATIVE) == [(62, 4), (64, 7), (66, 10)]


def test_knative_ramp() -> None:
    """Concurrency t / 4.  The panic window sees (t - 3.5) / 4: above 7 at 32 s, twice the one replica, so panic and 2;
    3 at 60 s, 4 at 88 s.  Panic ends more than 60 s after 32 s, at 94 s: the stable window sees (94 - 30.5) / 4, so 3
    replicas; 4 again when (t - 30.5) / 28 passes 3, at 116 s.
    """
    assert drive(lambda second: second / 4, 120, **KNATIVE) == [(32, 2), (60, 3), (88, 4), (94, 3), (116, 4)]


def test_knative_burst() -> None:
    """70 for 10 s: up as in a step, and never down in panic.  124 s: the stable window still holds three ticks of 70, a
    mean of 13.3, so 2, but at most a halving: 5; 126 s: 2; 130 s: no tick of the burst is left, 1.
    """
    expected = [(62, 4), (64, 7), (66, 10), (124, 5), (126, 2), (130, 1)]
    assert drive(step(7, 70, 60, 70), 300, **KNATIVE) == expected


def test_knative_goes_to_zero_after_the_grace_and_back_at_the_next_tick() -> None:
    """Load ends at 10 s: the window is empty at 70 s, the grace of 30 s ends at 100 s; a request at 200 s is seen at
    202 s, with a mean over the window of 1 / 30, so 1.
    """
    load: Load = lambda second: 7.0 if second < 10 else (1.0 if 200 <= second < 202 else 0.0)  # noqa: E731
    assert drive(load, 210, min_replicas=0, **KNATIVE) == [(100, 0), (202, 1)]


def test_ray_serve_step() -> None:
    """2 -> 20 ongoing at 60 s: the report of 70 s averages 8, above 2, and starts the delay of 30 s; at 100 s the look-
    back holds 20 only, so 10.  20 -> 4 at 300 s: from 310 s on less, acted upon 600 s later with ceil(10 x 0.2) = 2.
    """
    load: Load = lambda second: 2.0 if second < 60 else (20.0 if second < 300 else 4.0)  # noqa: E731
    assert drive(load, 1500, **RAY) == [(100, 10), (910, 2)]


def test_ray_serve_ramp() -> None:
    """Ongoing t / 10: the look-back sees (t - 15.5) / 10, so ceil((t - 15.5) / 20).  40 s: 2, delayed to 70 s, when it
    is 3; 80 s: 4, delayed to 110 s: 5; 120 s: 6, delayed to 150 s: 7.
    """
    assert drive(lambda second: second / 10, 160, **RAY) == [(70, 3), (110, 5), (150, 7)]


def test_ray_serve_burst() -> None:
    """20 for 20 s: at 100 s the look-back still averages 8, so 4; from 110 s on it asks for 1, which comes at 710 s."""
    assert drive(step(2, 20, 60, 80), 1000, **RAY) == [(100, 4), (710, 1)]


def test_ray_serve_delays_end_between_reports() -> None:
    """A delay of 25 s that starts with the report of 70 s ends at 95 s, outside of the reports."""
    assert drive(step(2, 20, 60), 200, **RAY, upscale_delay_s=25)[0][0] == 95


def test_llm_d_variant_step() -> None:
    """20 requests fill a cache.  10 -> 50 at 90 s: a full replica at 120 s, two full ones at 180 s, three at 83 % at
    240 s; four at 62.5 % leave 17.5 % to spare, three would leave nothing.
    """
    assert drive(step(10, 50, 90), 600, **LLM_D) == [(120, 2), (180, 3), (240, 4)]


def test_llm_d_variant_ramp() -> None:
    """Requests t / 10.  180 s: 90 % is saturated, 2; 240 s: 60 %; 300 s: 75 % leaves 5 %, less than 10 %, so 3."""
    assert drive(lambda second: second / 10, 400, **LLM_D) == [(180, 2), (300, 3)]


def test_llm_d_variant_burst() -> None:
    """60 requests from 100 to 150 s are seen once; at 180 s one replica would hold 10 requests with 30 % to spare."""
    assert drive(step(10, 60, 100, 150), 400, **LLM_D) == [(120, 2), (180, 1)]


def test_llm_d_variant_grows_the_cheapest_and_shrinks_the_dearest() -> None:
    """Two variants of one model: the cheap one grows, unless it has pending replicas; the dear one goes first."""
    options = options_of(kind="llm_d_variant", min_replicas=0)
    pools = [scaled_pool(options, "dear", usd_per_hour=8.0), scaled_pool(options, "cheap", usd_per_hour=2.0)]

    def decide(kv: float, cheap_starting: int = 0) -> Any:
        sample = (ReplicaFigures(kv_used_ratio=kv),)
        dear = PoolMetrics(1, samples=sample, in_flight=1)
        cheap = PoolMetrics(2, cheap_starting, samples=sample * 2, in_flight=1)
        metrics = ScalerMetrics(60 * NS, {"dear": dear, "cheap": cheap})
        return build(options, pools).decide(metrics, 60 * NS)

    assert decide(0.75) == {"dear": 1, "cheap": 3}
    assert decide(0.75, cheap_starting=1) == {"dear": 2, "cheap": 3}
    assert decide(0.30) == {"dear": 0, "cheap": 2}
    # 0.5 x 3 / 2 = 0.75 would leave 0.05: nothing changes.
    assert decide(0.50) == {"dear": 1, "cheap": 2}


def test_dynamo_planner_step() -> None:
    """Prompts of 1,000 at 10,000 tokens/s and outputs of 100 at 1,000 take 0.2 GPUs for each request per second: 5 per
    second take 1, 20 take 4.
    """
    assert drive(step(5, 20, 180), 1000, **PLANNER) == [(360, 4)]


def test_dynamo_planner_ramp() -> None:
    """Requests per second t / 60: means of 1.5, 4.5, 7.5 and 10.5 over the intervals take 0.3, 0.9, 1.5 and 2.1."""
    assert drive(lambda second: second / 60, 800, **PLANNER) == [(540, 2), (720, 3)]


def test_dynamo_planner_burst() -> None:
    """40 per second for 60 s are 16.7 over the interval, 3.3 replicas; it is over when they are there."""
    assert drive(step(5, 40, 200, 260), 800, **PLANNER) == [(360, 4), (540, 1)]


def planned(budget: int | None, itl_s: float | None = None, ttft_s: float | None = None) -> Any:
    """Return what the planner asks for: 20 requests per second of 1,000 + 100 tokens, decode replicas of 2 GPUs."""
    options = options_of(
        kind="dynamo_planner",
        gpu_budget=budget,
        itl_ms=30,
        prefill_profile=PLANNER["prefill_profile"],
        decode_profile=[
            {"context_tokens": 2000, "itl_ms": 20, "tokens_per_s": 250},
            {"context_tokens": 2000, "itl_ms": 30, "tokens_per_s": 500},
            {"context_tokens": 2000, "itl_ms": 40, "tokens_per_s": 1000},
        ],
    )
    pools = [
        scaled_pool(options, "prefill", role="prefill"),
        scaled_pool(options, "decode", role="decode", gpus_per_replica=2),
    ]
    arrivals = {"arrivals": 3600.0, "prompt_tokens": 3.6e6}
    prefill = PoolMetrics(2, ttft_s=ttft_s, **arrivals)
    decode = PoolMetrics(2, in_flight=60, ended=3600, output_tokens=3.6e5, itl_s=itl_s, **arrivals)
    return build(options, pools).decide(ScalerMetrics(180 * NS, {"prefill": prefill, "decode": decode}), 180 * NS)


def test_dynamo_planner_plans_both_legs_within_the_budget() -> None:
    """20,000 prompt tokens per second take 2 GPUs; 2,000 output tokens at 500 with an ITL of 30 ms take 4 GPUs, 2
    replicas.  Six GPUs suffice; of four, round(2 x 4 / 6) = 1 goes to prefill, and the three left hold one of decode.
    """
    assert planned(None) == {"prefill": 2, "decode": 2}
    assert planned(6) == {"prefill": 2, "decode": 2}
    assert planned(4) == {"prefill": 1, "decode": 1}


def test_dynamo_planner_corrects_by_what_was_measured() -> None:
    """60 in flight on 4 GPUs are 15 each, where the profile has 30 ms; measured 45 ms make the limit 20 ms: 250
    tokens/s, 8 GPUs, 4 replicas.  A TTFT of half the profile's halves prefill; one above it changes nothing.
    """
    assert planned(None, itl_s=0.045) == {"prefill": 2, "decode": 4}
    assert planned(None, ttft_s=0.05) == {"prefill": 1, "decode": 2}
    assert planned(None, ttft_s=3.0) == {"prefill": 2, "decode": 2}


def test_load_predictors() -> None:
    """The last value; the mean; a line that goes on by its slope; zeros before the first load do not count."""
    expected = {"constant": 50.0, "moving_average": 30.0, "autoregressive": 60.0}
    for kind, value in expected.items():
        predictor = LoadPredictor(kind, 10)  # type: ignore[arg-type]
        assert predictor.predict() == 0
        for load in (0.0, 0.0, 10.0, 20.0, 30.0, 40.0, 50.0):
            predictor.observe(load)
        assert predictor.predict() == pytest.approx(value)


@pytest.mark.parametrize("load", [step(1, 9, 100), lambda second: second / 10, step(1, 9, 100, 110)])
def test_schedule_ignores_the_load(load: Load) -> None:
    """For a step, a ramp and a burst alike its entries hold, and begin again with its period."""
    entries = [{"at_s": 20, "replicas": 2}, {"at_s": 50, "replicas": {"main": 5}}, {"at_s": 90, "replicas": 1}]
    block = {"kind": "schedule", "entries": entries, "period_s": 200}
    assert drive(load, 240, **block) == [(20, 2), (50, 5), (90, 1), (220, 2)]


def test_oracle_step() -> None:
    """2 requests per second and replica.  2 -> 8 at 100 s with a cold start of 30 s: the decision of 70 s is the last
    in time, so 4 then; down at 200 s.
    """
    assert drive(step(2, 8, 100, 200), 300, cold_start_s=30, **ORACLE) == [(70, 4), (200, 1)]


def test_oracle_ramp() -> None:
    """floor(t / 20) requests per second: 3 at 60 s, 5 at 100 s, 7 at 140 s take 2, 3 and 4, each 30 s ahead."""
    assert drive(lambda second: second // 20, 150, cold_start_s=30, **ORACLE) == [(30, 2), (70, 3), (110, 4)]


def test_oracle_burst() -> None:
    """20 per second for 10 s: ten replicas are there in time, and gone when it is over."""
    assert drive(step(2, 20, 100, 110), 300, cold_start_s=30, max_replicas=20, **ORACLE) == [(70, 10), (110, 1)]


def test_oracle_keeps_what_a_short_dip_would_need_again() -> None:
    """A dip from 100 to 120 s is shorter than the cold start of 30 s: nothing changes."""
    load: Load = lambda second: 2.0 if 100 <= second < 120 else 8.0  # noqa: E731
    assert drive(load, 200, start=4, cold_start_s=30, **ORACLE) == []


def test_ray_serve_forgets_a_direction_without_replicas() -> None:
    """A delay that began while a replica served is void when none does: the next look is the next report."""
    options = options_of(**RAY)
    scaler = build(options, [scaled_pool(options)])

    def look(ready: int, now_s: int) -> int:
        pool = PoolMetrics(ready=ready, starting=1 - ready, in_flight=20.0)
        scaler.decide(ScalerMetrics(10 * NS, {"main": pool}), now_s * NS)
        return scaler.next_ns(now_s * NS) // NS

    assert look(ready=1, now_s=10) == 20
    assert look(ready=0, now_s=50) == 60
