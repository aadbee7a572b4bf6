"""Tests of the exposition of live metrics."""

import shutil
import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cluster_sim.metrics.exposition import Exposition
from cluster_sim.metrics.exposition_text import bound_texts, label_text
from cluster_sim.metrics.live import LiveSnapshot, ReplicaLive, RequestsLive, SpeedMeter, opening_snapshot
from cluster_sim.metrics.request_totals import RequestTotals
from cluster_sim.recording import buckets


def _page(run, engine_limit: int = 64) -> str:
    replicas = [ReplicaLive(2 + index, 1, 0.25 + 0.5 * index, log.counters()) for index, log in enumerate(run.logs)]
    requests = RequestsLive.copy_of(run.totals)
    snapshot = LiveSnapshot(0.04, 0.01, 4.0, 4, replicas, requests, 1.0)
    return Exposition(run.metadata, {"run": "hand", "version": "1"}, engine_limit).text(snapshot)


def _samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _value(text: str, name: str, **labels: str) -> float:
    return _samples(text)[name, frozenset(labels.items())]


MODEL = {"model_name": "llama-3-8b"}


def test_engine_series_by_hand(finished_run) -> None:
    """Replica 0 has vLLM's series with the hand-computed figures of its two requests."""
    text = _page(finished_run)
    engine = {**MODEL, "engine": "0"}
    assert _value(text, "vllm:num_requests_running", **engine) == 2
    assert _value(text, "vllm:kv_cache_usage_perc", **engine) == 0.25
    assert _value(text, "vllm:prompt_tokens_total", **engine) == 150
    assert _value(text, "vllm:generation_tokens_total", **engine) == 5
    assert _value(text, "vllm:request_success_total", finished_reason="length", **engine) == 2
    assert _value(text, "vllm:request_success_total", finished_reason="abort", **engine) == 0
    assert _value(text, "vllm:time_to_first_token_seconds_sum", **engine) == pytest.approx(0.026)
    assert _value(text, "vllm:time_to_first_token_seconds_bucket", le="0.01", **engine) == 0
    assert _value(text, "vllm:time_to_first_token_seconds_bucket", le="0.02", **engine) == 2
    assert _value(text, "vllm:inter_token_latency_seconds_bucket", le="0.01", **engine) == 3
    assert _value(text, "vllm:inter_token_latency_seconds_sum", **engine) == pytest.approx(0.03)
    assert _value(text, "vllm:iteration_tokens_total_bucket", le="128.0", **engine) == 3
    assert _value(text, "vllm:request_prompt_tokens_bucket", le="50.0", **engine) == 1
    assert _value(text, "vllm:request_max_num_generation_tokens_sum", **engine) == 5
    assert _value(text, "vllm:cache_config_info", block_size="16", num_gpu_blocks="100", **engine) == 1


def test_single_token_request_is_observed_at_zero(finished_run) -> None:
    """VLLM observes a time per output token of 0 for a request of one token."""
    text = _page(finished_run)
    name = "vllm:request_time_per_output_token_seconds"
    assert _value(text, f"{name}_count", **MODEL, engine="1") == 1
    assert _value(text, f"{name}_sum", **MODEL, engine="1") == 0


def test_simulation_series(finished_run) -> None:
    """The clock, the speed-up and the requests by state are there."""
    text = _page(finished_run)
    assert _value(text, "cluster_sim_time_seconds") == 0.04
    assert _value(text, "cluster_sim_speedup_ratio") == 4.0
    assert _value(text, "cluster_sim_requests_total", state="arrived") == 4
    assert _value(text, "cluster_sim_requests_total", state="finished") == 3
    assert _value(text, "cluster_sim_requests_total", state="refused") == 1
    assert _value(text, "cluster_sim_requests_in_system") == 0
    assert _value(text, "cluster_sim_run_info", run="hand", version="1") == 1


def test_large_fleet_has_series_per_pool(finished_run) -> None:
    """Above the limit a pool is one engine: counts add up, cache use is the mean."""
    text = _page(finished_run, engine_limit=1)
    engine = {**MODEL, "engine": "main"}
    assert _value(text, "vllm:num_requests_running", **engine) == 5
    assert _value(text, "vllm:num_requests_waiting", **engine) == 2
    assert _value(text, "vllm:kv_cache_usage_perc", **engine) == 0.5
    assert _value(text, "vllm:e2e_request_latency_seconds_count", **engine) == 3
    assert _value(text, "vllm:iteration_tokens_total_count", **engine) == 4
    assert 'engine="0"' not in text


def test_opening_snapshot_has_every_series_at_zero(finished_run) -> None:
    """Before the first event every series of the run exists, so that rates see the first increment."""
    opening = opening_snapshot(2, RequestTotals(2, ["main"], 8_192))
    before = Exposition(finished_run.metadata, {"run": "hand", "version": "1"}).text(opening)
    ours, later = _samples(before), _samples(_page(finished_run))
    assert set(later) - set(ours) == {("cluster_sim_run_completed_ratio", frozenset())}
    assert {value for (name, _), value in ours.items() if not name.endswith("_info")} == {0.0}


def test_families_are_complete_and_histograms_cumulative(finished_run) -> None:
    """Each family appears once, all its samples together, buckets never falling and ending at the count."""
    text = _page(finished_run)
    families = [family.name for family in text_string_to_metric_families(text)]
    assert len(families) == len(set(families))
    last: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = family.name, sample.labels.get("engine", "")
            if sample.name.endswith("_bucket"):
                assert sample.value >= last.get(key, 0.0)
                last[key] = sample.value
            elif sample.name.endswith("_count") and family.type == "histogram":
                assert sample.value == last[key]


def test_bounds_are_written_as_go_does() -> None:
    """Boundaries keep a decimal point and turn to exponents from a million on."""
    assert bound_texts((0.001, 1, 7680.0, 200_000, 1_000_000, 2_500_000)) == (
        "0.001", "1.0", "7680.0", "200000.0", "1e+06", "2.5e+06", "+Inf",
    )  # fmt: skip
    assert buckets.one_two_five(8_192) == (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


def test_label_values_are_escaped() -> None:
    """Quotes, backslashes and line ends of a label's value are escaped."""
    assert label_text({"run": 'a"b\\c\nd', "x": "y"}) == 'run="a\\"b\\\\c\\nd",x="y"'


def test_promtool_finds_nothing_in_our_names(finished_run) -> None:
    """Promtool has no complaint about cluster_sim_*, and only vLLM's own two kinds about vllm:*."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool (Debian package prometheus)")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=_page(finished_run), capture_output=True, text=True, check=False
    )
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if line]
    ours = [line for line in complaints if not line.startswith("vllm:")]
    assert ours == []
    assert all(
        "should not contain ':'" in line or 'non-counter metrics should not have "_total" suffix' in line
        for line in complaints
    ), complaints


def test_speed_is_measured_over_a_window() -> None:
    """The speed-up is that of the last ten wall seconds, not of the whole run."""
    meter = SpeedMeter(window_s=10.0)
    assert meter.measure(0.0, 0.0) == 0.0
    assert meter.measure(10.0, 1000.0) == 100.0
    assert meter.measure(20.0, 1010.0) == 1.0
