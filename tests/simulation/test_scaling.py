"""Fleets that change during the run: scalers, upgrades, traffic splits, changes at given times."""

import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cluster_sim.errors import InputError
from cluster_sim.report.openmetrics import write_openmetrics
from cluster_sim.simulation.plan import make_plan
from tests.equality import equal_everywhere
from tests.small_run import run_small, small_study

QUICK = (
    "fleet.pools.0.cold_start={process_s: 1, compile_s: 1, warmup_s: 0, weights_gb_per_s: 100}",
    "workload.count=300",
    "workload.arrivals={kind: poisson, request_rate: 8}",
)
"""A pool that starts in 2.16 s, and 37 s of load."""
TWO_TWELVE_THREE = (
    *QUICK,
    "fleet.pools.0.replicas=2",
    "autoscaler={kind: schedule, max_replicas: 12, entries: [{at_s: 5, replicas: 12}, {at_s: 20, replicas: 3}]}",
)
SCALERS = {
    "hpa": "{kind: hpa, metrics: [{metric: in_flight, target: 1}], sync_period_s: 2, max_replicas: 12}",
    "keda": "{kind: keda, triggers: [{metric: in_flight, target: 1}], sync_period_s: 2, max_replicas: 12}",
    "knative": "{kind: knative, target: 1, stable_window_s: 6, panic_window_s: 2, max_replicas: 12}",
    "ray_serve": "{kind: ray_serve, target_ongoing_requests: 1, metrics_interval_s: 1, look_back_period_s: 3, "
    "upscale_delay_s: 2, downscale_delay_s: 3, max_replicas: 12}",
    "dynamo_planner": "{kind: dynamo_planner, interval_s: 3, max_replicas: 12, "
    "prefill_profile: [{prompt_tokens: 100, tokens_per_s: 1000, ttft_ms: 50}], "
    "decode_profile: [{context_tokens: 200, itl_ms: 20, tokens_per_s: 500}]}",
    "hpa_on_samples": "{kind: hpa, metrics: [{metric: running, target: 1}, {metric: kv_used_ratio, target: 0.5}], "
    "sync_period_s: 2, sample_period_s: 1, sample_latency_s: 0.3, max_replicas: 12}",
    "llm_d_variant": "{kind: llm_d_variant, interval_s: 2, kv_threshold_ratio: 0.1, spare_kv_ratio: 0.05, "
    "sample_period_s: 0.5, max_replicas: 12}",
    "oracle": "{kind: oracle, requests_per_s: 2, bin_s: 2, interval_s: 2, max_replicas: 12}",
}


def rows(folder: Path) -> list[dict[str, Any]]:
    return pq.read_table(folder / "requests.parquet").to_pylist()


@pytest.mark.parametrize("policy", ["round_robin", "least_outstanding", "random"])
def test_a_schedule_scales_exactly(tmp_path: Path, policy: str) -> None:
    """2 -> 12 -> 3 replicas: rows and counters are the same inline, in single steps, and in groups with delays."""
    evidence = equal_everywhere(small_study(tmp_path, *TWO_TWELVE_THREE, f"router={{policy: {policy}}}"))
    assert len(evidence.replicas) == 12


@pytest.mark.parametrize("name", SCALERS)
def test_every_scaler_scales_exactly(tmp_path: Path, name: str) -> None:
    """Every scaler, of the router's counts or of samples, gives the same run in every executor, and the fleet grows."""
    study = small_study(tmp_path, *QUICK, f"autoscaler={SCALERS[name]}")
    assert len(equal_everywhere(study).replicas) > 1


def test_new_replicas_serve_after_their_cold_start(tmp_path: Path) -> None:
    """Ten start at 5 s and serve from 5 s + 1 s + 1 s + 16.06 GB / 100 GB/s on; nine of twelve go at 20 s."""
    result = run_small(tmp_path, *TWO_TWELVE_THREE, "router={policy: round_robin}")
    table = rows(result.directory)
    assert {row["replica"] for row in table} == set(range(12))
    first = min(row["dispatch_s"] for row in table if row["replica"] >= 2)
    assert 7.160 < first < 7.9
    assert {row["replica"] for row in table if row["dispatch_s"] > 20} == {0, 1, 2}
    assert result.summary["requests"]["finished"] == 300
    assert all(check["holds"] for check in result.summary["checks"].values())


def test_what_outlives_the_grace_fails(tmp_path: Path) -> None:
    """With a grace of 0 the requests that a drained replica holds fail, and every request has one status."""
    result = run_small(tmp_path, *TWO_TWELVE_THREE, "fleet.pools.0.drain_grace_s=0")
    requests, reasons = result.summary["requests"], result.summary["reasons"]
    assert requests["failed"] == reasons["drained"] > 0
    assert requests["total"] == 300 == requests["finished"] + requests["failed"]
    equal_everywhere(small_study(tmp_path, *TWO_TWELVE_THREE, "fleet.pools.0.drain_grace_s=0"))


def test_a_run_ends_with_its_last_request(tmp_path: Path) -> None:
    """Timers of a scaler and of clients do not keep a run from ending."""
    scaler = f"autoscaler={SCALERS['hpa']}"
    result = run_small(tmp_path, *QUICK, scaler, "router={policy: round_robin, client_timeout_s: 30}")
    assert result.summary["simulated_s"] == pytest.approx(max(row["finish_s"] for row in rows(result.directory)))


UPGRADE = (
    *QUICK,
    "fleet.pools.0.replicas=4",
    "fleet.pools.0.name=main",
    "run.changes=[{at_s: 5, set: {fleet.pools.main.engine.max_num_seqs: 8}}]",
)


def test_an_upgraded_engine_takes_over(tmp_path: Path) -> None:
    """Four replicas are replaced by four of a pool with the new engine; nothing is lost."""
    result = run_small(tmp_path, *UPGRADE)
    table = rows(result.directory)
    assert {row["pool"] for row in table} == {"main", "main-v2"}
    assert {row["replica"] for row in table if row["pool"] == "main-v2"} == {4, 5, 6, 7}
    assert all(row["pool"] == "main-v2" for row in table if row["dispatch_s"] > 25)
    assert result.summary["requests"]["finished"] == 300
    equal_everywhere(small_study(tmp_path, *UPGRADE))


def test_an_upgrade_takes_the_place_of_one_under_way(tmp_path: Path) -> None:
    """A second change 1 s after the first, before a replica of it serves, replaces all: eight replicas and no more."""
    later = "{at_s: 6, set: {fleet.pools.main.engine.max_num_seqs: 16}}"
    study = (*UPGRADE[:-1], UPGRADE[-1].replace("]", f", {later}]"))
    result = run_small(tmp_path, *study)
    table = rows(result.directory)
    assert {row["pool"] for row in table if row["dispatch_s"] > 30} == {"main-v3"}
    assert len({row["replica"] for row in table if row["pool"] == "main-v3"}) == 4
    assert max(row["replica"] for row in table) < 12
    assert result.summary["requests"]["finished"] == 300
    equal_everywhere(small_study(tmp_path, *study))


def test_upgrades_between_pools_of_the_study(tmp_path: Path) -> None:
    """A pool of the same model without replicas takes over, within its own limits."""
    pool = (
        "fleet.pools=[{name: old, model: llama-3-8b, device: h100-sxm, replicas: 2, engine: {num_kv_blocks: 800}}, "
        "{name: new, model: llama-3-8b, device: h100-sxm, replicas: 0, engine: {num_kv_blocks: 400}, "
        "cold_start: {process_s: 1, compile_s: 1, warmup_s: 0, weights_gb_per_s: 100}}]"
    )
    study = (pool, *QUICK[1:], "upgrades=[{at_s: 5, pool: old, to: new, max_unavailable_percent: 0}]")
    result = run_small(tmp_path, *study)
    assert {row["pool"] for row in rows(result.directory)} == {"old", "new"}
    assert result.summary["requests"]["finished"] == 300
    equal_everywhere(small_study(tmp_path, *study))


CANARY = (
    "fleet.pools=[{model: llama-3-8b, device: h100-sxm, replicas: 2}, {name: b, model: llama-3-8b, device: h100-sxm}]",
    "workload.count=300",
    "router={policy: round_robin, split: {main: 90, b: 10}}",
)


def test_a_canary_gets_its_share(tmp_path: Path) -> None:
    """A tenth at first; half from 10 s on, by a change of the split."""
    changed = (*CANARY, "run.changes=[{at_s: 10, set: {router.split: {main: 1, b: 1}}}]")
    table = rows(run_small(tmp_path, *changed, "workload.arrivals={kind: constant, request_rate: 15}").directory)
    early = [row["pool"] == "b" for row in table if row["arrival_s"] < 10]
    late = [row["pool"] == "b" for row in table if row["arrival_s"] > 10]
    assert sum(early) / len(early) == pytest.approx(0.1, abs=0.06)
    assert sum(late) / len(late) == pytest.approx(0.5, abs=0.1)
    equal_everywhere(small_study(tmp_path, *changed))


def test_replica_counts_and_options_of_the_policy_change(tmp_path: Path) -> None:
    """Three replicas from 5 s on, and ties that go to the first."""
    changes = "run.changes=[{at_s: 5, set: {fleet.pools.0.replicas: 3, router.ties: first}}]"
    study = (*QUICK, "fleet.pools.0.replicas=1", changes)
    assert {row["replica"] for row in rows(run_small(tmp_path, *study).directory)} == {0, 1, 2}
    equal_everywhere(small_study(tmp_path, *study))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "autoscaler={kind: ray_serve, pools: [other]}",
            r"autoscaler\.pools\.0: there is no pool 'other'; known: main",
        ),
        ("autoscaler={kind: ray_serve, min_replicas: 3, gpu_budget: 2}", r"autoscaler\.gpu_budget: 2 GPUs are fewer"),
        ("fleet.pools.0.replicas=0", r"fleet\.pools\.0\.replicas: 0, and nothing starts any"),
        ("router={policy: random, split: {other: 1}}", r"router\.split: there is no pool 'other'"),
        ("router={policy: random, split: {main: 0}}", r"router\.split: the weights of the pools of \S+ sum to 0"),
        ("upgrades=[{at_s: 1, pool: main, to: other}]", r"upgrades\.0\.to: there is no pool 'other'; known: main"),
        ("upgrades=[{at_s: 1, pool: main, to: main}]", r"upgrades\.0\.to: a pool cannot take its own place"),
        (
            "run.changes=[{at_s: 1, set: {router.replicas: 2}}]",
            r"run\.changes\.0\.set: router\.replicas cannot change",
        ),
        (
            "run.changes=[{at_s: 1, set: {seed: 1}}]",
            r"these can: router\.split, router\.policy, router\.ties, fleet\.pools\.N\.replicas",
        ),
        ("run.changes=[{at_s: 1, set: {router.ties: 3}}]", r"run\.changes\.0\.set: router\.ties: Input should be"),
        ("run.changes=[{at_s: 1, set: {router.split: {main: x}}}]", r"the weight of 'main' must be a number"),
        ("run.changes=[{at_s: 1, set: {fleet.pools.0.replicas: -1}}]", r"replicas must be a whole number"),
        ("run.changes=[{at_s: 1, set: {fleet.pools.9.replicas: 1}}]", r"fleet\.pools\.9\.replicas cannot change"),
        (
            "run.changes=[{at_s: 1, set: {fleet.pools.0.engine.block: 1}}]",
            r"run\.changes\.0\.set: fleet\.pools\.engine",
        ),
    ],
)
def test_wrong_studies_are_refused_with_their_key(tmp_path: Path, override: str, message: str) -> None:
    """Each message names the key at fault, and what would be right."""
    with pytest.raises(InputError, match=message):
        make_plan(small_study(tmp_path, override))


def test_a_scaled_pool_cannot_be_changed_by_others(tmp_path: Path) -> None:
    """The autoscaler decides about its pools alone."""
    changes = "run.changes=[{at_s: 1, set: {fleet.pools.main.replicas: 3}}]"
    with pytest.raises(InputError, match=r"run.changes.0.set: the autoscaler decides about the replicas of 'main'"):
        make_plan(small_study(tmp_path, changes, "autoscaler={kind: ray_serve}"))


def test_an_oracle_needs_a_workload_that_does_not_react(tmp_path: Path) -> None:
    """What closed loops will send is not known before the run."""
    with pytest.raises(InputError, match=r"autoscaler.kind: oracle must know the load"):
        make_plan(small_study(tmp_path, "workload.max_concurrency=4", f"autoscaler={SCALERS['oracle']}"))


def test_cost_counts_the_time_that_replicas_exist(tmp_path: Path) -> None:
    """Two replicas for the whole run, ten from 5 s on, of which nine of all leave from 20 s on."""
    summary = run_small(tmp_path, *TWO_TWELVE_THREE, "run.warmup={kind: none}", "run.measure={kind: none}").summary
    pool, end_s = summary["pools"][0], summary["simulated_s"]
    stays = [(each["joined_s"], end_s if each["left_s"] is None else each["left_s"]) for each in summary["replicas"]]
    assert [round(joined, 4) for joined, _ in stays] == [0.0] * 2 + [5.0005] * 10
    assert sum(left == end_s for _, left in stays) == 3
    assert pool["gpu_hours"] == pytest.approx(sum(left - joined for joined, left in stays) / 3600)
    assert pool["cost_usd"] == pytest.approx(2.99 * pool["gpu_hours"])
    assert pool["mean_replicas"] == pytest.approx(pool["gpu_hours"] * 3600 / end_s, rel=1e-6)
    assert pool["most_replicas"] == 12
    gpus = pool["gpus"] // pool["replicas"]
    assert (summary["mean_gpus"], summary["most_gpus"]) == (pytest.approx(pool["mean_replicas"] * gpus), 12 * gpus)
    assert pool["replicas"] == 2
    assert all(0 <= each["busy_ratio"] <= 1 for each in summary["replicas"])


FROM_ZERO = (
    *QUICK,
    "workload.count=60",
    "workload.arrivals={kind: poisson, request_rate: 3}",
    "fleet.pools.0.replicas=0",
    "autoscaler={kind: knative, target: 2, min_replicas: 0, max_replicas: 6, stable_window_s: 6}",
)


def test_arrivals_wait_for_the_first_replica(tmp_path: Path) -> None:
    """With a queue at the router a fleet of no replicas serves everything: the first one is there after its start."""
    study = (*FROM_ZERO, "admission={detector: {kind: concurrency}}")
    result = run_small(tmp_path, *study)
    assert result.summary["requests"]["finished"] == 60
    first = min(row["dispatch_s"] for row in rows(result.directory))
    assert 4.16 < first < 4.17  # The tick at 2 s, and 2.16 s of cold start.
    single = run_small(tmp_path, *study, "run.macro_steps=false")
    assert single.digest == result.digest


def test_arrivals_fail_without_a_queue(tmp_path: Path) -> None:
    """What arrives while there is no replica fails at once, so that the scaler sees no load either."""
    result = run_small(tmp_path, *FROM_ZERO)
    assert result.summary["reasons"]["no_replica"] == result.summary["requests"]["failed"] == 60


def test_routers_restart_with_every_visible_sample(tmp_path: Path) -> None:
    """Samples that are visible come before a change of the policy's options, however late their groups are advanced."""
    changes = "run.changes=[{at_s: 0.4, set: {router.ties: first}}, {at_s: 1.3, set: {router.ties: random}}]"
    router = "router={policy: least_loaded, telemetry: {period_ms: 7, latency_ms: 0}}"
    equal_everywhere(small_study(tmp_path, changes, router, "fleet.pools.0.replicas=4"), placements=6)


def test_metrics_show_replicas_that_have_joined(tmp_path: Path) -> None:
    """The metrics of a finished run have series for every replica; all but the tokens since a last tick are there."""
    result = run_small(tmp_path, *UPGRADE)
    text = write_openmetrics(result.directory).read_text(encoding="utf-8")
    tokens = dict(re.findall(r'vllm:generation_tokens_total\{.*engine="(\d+)"[^}]*\} (\S+) ', text))
    assert set(tokens) == {str(number) for number in range(8)}
    whole = result.summary["whole_run"]["output_tokens"]
    assert 0.9 * whole < sum(map(float, tokens.values())) <= whole
