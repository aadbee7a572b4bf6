"""Tests of the exposition of live metrics."""

import re
import shutil
import subprocess
from dataclasses import replace

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from cluster_sim.metrics.exposition.collector import client_page
from cluster_sim.metrics.exposition.exposition import Exposition
from cluster_sim.metrics.exposition.family import Labels, bound_texts
from cluster_sim.metrics.exposition.text import TextWriter
from cluster_sim.metrics.live import EngineMembers, FleetLive, PoolLive, opening_snapshot
from cluster_sim.metrics.request_totals import RequestTotals
from cluster_sim.recording import buckets
from tests.metrics.snapshots import snapshot_of

STATES = [(2, 1, 25), (3, 1, 75)]


def _exposition(run, engine_limit: int = 64, names: str = "auto") -> Exposition:
    return Exposition(run.metadata, "hand", {"version": "1"}, names, engine_limit)


def _page(run, engine_limit: int = 64, names: str = "auto", **changes) -> str:
    snapshot = snapshot_of(run.metadata, run.totals, run.logs, STATES, engine_limit=engine_limit, **changes)
    return TextWriter().page(_exposition(run, engine_limit, names).families(snapshot))


def _samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _value(text: str, series: str, /, **labels: str) -> float:
    return _samples(text)[series, frozenset({"run": "hand", **labels}.items())]


MODEL = {"model_name": "llama-3-8b", "pool": "main"}


def test_engine_series_by_hand(finished_run) -> None:
    """Replica 0 has vLLM's series with the hand-computed figures of its two requests."""
    text = _page(finished_run)
    engine = {**MODEL, "engine": "0"}
    assert _value(text, "vllm:num_requests_running", **engine) == 2
    assert _value(text, "vllm:num_requests_waiting_by_reason", reason="capacity", **engine) == 1
    assert _value(text, "vllm:num_requests_waiting_by_reason", reason="deferred", **engine) == 0
    assert _value(text, "vllm:engine_sleep_state", sleep_state="awake", **engine) == 1
    assert _value(text, "vllm:kv_cache_usage_perc", **engine) == 0.25
    assert _value(text, "vllm:prompt_tokens_total", **engine) == 150
    assert _value(text, "vllm:prompt_tokens_by_source_total", source="local_compute", **engine) == 150
    assert _value(text, "vllm:generation_tokens_total", **engine) == 5
    assert _value(text, "vllm:request_success_total", finished_reason="length", **engine) == 2
    assert _value(text, "vllm:request_success_total", finished_reason="abort", **engine) == 0
    assert _value(text, "vllm:time_to_first_token_seconds_sum", **engine) == pytest.approx(0.026)
    assert _value(text, "vllm:time_to_first_token_seconds_bucket", le="0.01", **engine) == 0
    assert _value(text, "vllm:time_to_first_token_seconds_bucket", le="0.02", **engine) == 2
    assert _value(text, "vllm:inter_token_latency_seconds_bucket", le="0.01", **engine) == 3
    assert _value(text, "vllm:inter_token_latency_seconds_sum", **engine) == pytest.approx(0.03)
    assert _value(text, "vllm:iteration_tokens_total_bucket", le="128.0", **engine) == 3
    assert _value(text, "vllm:iteration_tokens_total_sum", **engine) == 155
    assert _value(text, "vllm:request_prompt_tokens_bucket", le="50.0", **engine) == 1
    assert _value(text, "vllm:request_max_num_generation_tokens_sum", **engine) == 5
    assert _value(text, "vllm:request_prefill_kv_computed_tokens_sum", **engine) == 150
    assert _value(text, "vllm:request_params_n_bucket", le="1.0", **engine) == 2
    info = {"block_size": "16", "num_gpu_blocks": "100", "enable_prefix_caching": "False"}
    assert _value(text, "vllm:cache_config_info", **info, **engine) == 1


def test_first_token_is_observed_when_it_comes(finished_run) -> None:
    """A request whose first token has come counts at once, and stays if its client gives up afterwards."""
    finished_run.logs[0].first_tokens.note(33_000_000, 300_000_000, 40, 16, 8)
    text = _page(finished_run)
    engine = {**MODEL, "engine": "0"}
    assert _value(text, "vllm:time_to_first_token_seconds_count", **engine) == 3
    assert _value(text, "vllm:time_to_first_token_seconds_sum", **engine) == pytest.approx(0.326)
    assert _value(text, "vllm:e2e_request_latency_seconds_count", **engine) == 2
    assert _value(text, "vllm:prompt_tokens_total", **engine) == 190
    assert _value(text, "vllm:prompt_tokens_cached_total", **engine) == 24
    sources = {"local_compute": 166, "local_cache_hit": 16, "external_kv_transfer": 8}
    for source, tokens in sources.items():
        assert _value(text, "vllm:prompt_tokens_by_source_total", source=source, **engine) == tokens


def test_single_token_request_is_observed_at_zero(finished_run) -> None:
    """VLLM observes a time per output token of 0 for a request of one token."""
    text = _page(finished_run)
    name = "vllm:request_time_per_output_token_seconds"
    assert _value(text, f"{name}_count", **MODEL, engine="1") == 1
    assert _value(text, f"{name}_sum", **MODEL, engine="1") == 0


def test_token_buckets_end_at_the_context_of_the_pool(finished_run) -> None:
    """Each pool's token histograms have vLLM's boundaries up to its own longest context, whatever others serve."""
    small = replace(finished_run.metadata.pools[0], max_model_tokens=50, replicas=1)
    large = replace(small, name="long", max_model_tokens=8192)
    finished_run.metadata = replace(finished_run.metadata, pools=(small, large))
    finished_run.totals.pools = ("main", "long")
    text = _page(finished_run)
    bounds: dict[str, list[str]] = {"0": [], "1": []}
    for line in text.splitlines():
        if line.startswith("vllm:request_prompt_tokens_bucket"):
            bounds[re.search(r'engine="(\d)"', line)[1]].append(re.search(r'le="([^"]*)"', line)[1])
    assert bounds["0"] == ["1.0", "2.0", "5.0", "10.0", "20.0", "50.0", "+Inf"]
    assert bounds["1"][-2:] == ["5000.0", "+Inf"]
    assert _value(text, "vllm:request_prompt_tokens_bucket", le="50.0", **MODEL, engine="0") == 1
    assert _value(text, "vllm:request_prompt_tokens_bucket", le="+Inf", **MODEL, engine="0") == 2


def test_simulation_series(finished_run) -> None:
    """The clock, the speed-up, the requests by state and the fleet are there."""
    text = _page(finished_run, fleet=FleetLive((PoolLive(1, starting=1, joined=3, left=2),), migrated=5))
    assert _value(text, "cluster_sim_time_seconds") == 0.04
    assert _value(text, "cluster_sim_simulated_seconds_total") == 0.04
    assert _value(text, "cluster_sim_speedup_ratio") == 4.0
    assert _value(text, "cluster_sim_requests_total", state="arrived") == 4
    assert _value(text, "cluster_sim_requests_total", state="finished") == 3
    assert _value(text, "cluster_sim_requests_total", state="refused") == 1
    assert _value(text, "cluster_sim_requests_in_system") == 0
    assert _value(text, "cluster_sim_run_info", version="1") == 1
    assert _value(text, "cluster_sim_replicas", pool="main", state="starting") == 1
    assert _value(text, "cluster_sim_scale_events_total", pool="main", direction="up") == 3
    assert _value(text, "cluster_sim_scale_events_total", pool="main", direction="down") == 2
    assert _value(text, "cluster_sim_migrations_total") == 5
    assert _value(text, "cluster_sim_busy_seconds_total", pool="main", replica="0") == pytest.approx(0.03)


def test_every_series_has_the_run(finished_run) -> None:
    """Two runs in one Prometheus stay apart."""
    lines = [line for line in _page(finished_run).splitlines() if not line.startswith("#")]
    assert [line for line in lines if 'run="hand"' not in line] == []


def test_router_series(finished_run) -> None:
    """The router has llm-d's names, and those of the inference extension beside them."""
    text = _page(finished_run)
    model = {"model_name": "llama-3-8b", "target_model_name": "llama-3-8b", "fairness_id": "", "priority": "0"}
    assert _value(text, "llm_d_epp_request_total", **model) == 4
    assert _value(text, "llm_d_epp_request_error_total", error_code="BadRequest", **model) == 1
    assert _value(text, "llm_d_epp_request_duration_seconds_bucket", le="0.025", **model) == 2
    assert _value(text, "llm_d_epp_request_duration_seconds_count", **model) == 3
    assert _value(text, "llm_d_epp_request_ttft_seconds_bucket", le="0.025", streaming="true", **model) == 3
    assert _value(text, "llm_d_epp_request_input_tokens_bucket", le="64.0", **model) == 2
    assert _value(text, "llm_d_epp_average_kv_cache_utilization", name="main") == 0.5
    assert _value(text, "llm_d_epp_ready_endpoints", name="main") == 2
    assert _value(text, "inference_pool_average_queue_size", name="main") == 1
    assert _value(text, "inference_objective_request_total", **model) == 4


def test_sglang_pool_has_sglangs_names(finished_run) -> None:
    """An SGLang pool has both spellings of SGLang's names with its boundaries, and none of vLLM's, unless asked for."""
    pool = replace(finished_run.metadata.pools[0], engine="sglang")
    finished_run.metadata = replace(finished_run.metadata, pools=(pool,))
    text = _page(finished_run)
    ranks = {"engine_type": "unified", "tp_rank": "0", "pp_rank": "0", "moe_ep_rank": "0"}
    engine = {**MODEL, "engine": "0", **ranks}
    for prefix in ("sglang:", "sglang_"):
        assert _value(text, f"{prefix}num_running_reqs", **engine) == 2
        assert _value(text, f"{prefix}num_queue_reqs", **engine) == 1
        assert _value(text, f"{prefix}num_used_tokens", **engine) == 400
        assert _value(text, f"{prefix}gen_throughput", **engine) == 125
        assert _value(text, f"{prefix}time_to_first_token_seconds_bucket", le="0.1", **engine) == 2
        assert _value(text, f"{prefix}e2e_request_latency_seconds_bucket", le="2400.0", **engine) == 2
        assert _value(text, f"{prefix}queue_time_seconds_bucket", le="0.005", **engine) == 2
    assert "vllm:" not in text
    other = _page(finished_run, names="vllm")
    assert "sglang" not in other
    assert _value(other, "vllm:num_requests_running", **MODEL, engine="0") == 2


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


def test_replicas_that_join_get_series(finished_run) -> None:
    """A replica that joins during the run has series from then on; those of the others stay."""
    finished_run.totals.reserve(3)
    logs = [*finished_run.logs, finished_run.logs[1]]
    snapshot = snapshot_of(finished_run.metadata, finished_run.totals, logs, [*STATES, (7, 0, 1)], joined_pools=[0])
    exposition = _exposition(finished_run)
    writer = TextWriter()
    early = writer.page(exposition.families(snapshot_of(finished_run.metadata, finished_run.totals, logs[:2], STATES)))
    late = writer.page(exposition.families(snapshot))
    assert _value(late, "vllm:num_requests_running", **MODEL, engine="2") == 7
    assert set(_samples(early)) <= set(_samples(late))


@pytest.mark.parametrize("engine_limit", [64, 1])
@pytest.mark.parametrize("names", ["vllm", "sglang"])
def test_prometheus_client_gives_equal_samples(finished_run, names: str, engine_limit: int) -> None:
    """The writer and prometheus-client make the same samples of the families, in text and in OpenMetrics."""
    exposition = _exposition(finished_run, engine_limit, names)
    run = finished_run
    snapshot = snapshot_of(run.metadata, run.totals, run.logs, STATES, engine_limit=engine_limit)
    ours = TextWriter().page(exposition.families(snapshot))
    assert _samples(ours) == _samples(client_page(exposition, snapshot).decode())
    openmetrics = TextWriter().page(exposition.families(snapshot), is_openmetrics=True)
    assert openmetrics.endswith("# EOF\n")
    samples = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in openmetrics_families(openmetrics)
        for sample in family.samples
    }
    assert samples == _samples(ours)


def test_opening_snapshot_has_every_series_at_zero(finished_run) -> None:
    """Before the first event every series of the run exists, so that rates see the first increment."""
    metadata = finished_run.metadata
    opening = opening_snapshot(metadata, RequestTotals(2, ["main"], 8_192), EngineMembers(metadata))
    ours = _samples(TextWriter().page(_exposition(finished_run).families(opening)))
    later = _samples(_page(finished_run))
    assert set(later) - set(ours) == {("cluster_sim_run_completed_ratio", frozenset({("run", "hand")}))}
    constant = ("_info", "sleep_state", "ready_endpoints", "ready_pods", "cluster_sim_replicas")
    assert {value for (name, _), value in ours.items() if not name.endswith(constant)} == {0.0}


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
    assert Labels.of(run='a"b\\c\nd', x="y").text == 'run="a\\"b\\\\c\\nd",x="y"'


def test_promtool_finds_nothing_in_our_names(finished_run) -> None:
    """Promtool has no complaint about cluster_sim_*, and only the servers' own kinds about theirs."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool (Debian package prometheus)")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=_page(finished_run), capture_output=True, text=True, check=False
    )
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if line]
    assert [line for line in complaints if line.startswith("cluster_sim_")] == []
    theirs = ("should not contain ':'", 'should not have "_total" suffix', "should not contain abbreviated units")
    assert all(line.startswith(("vllm:", "llm_d_", "inference_")) for line in complaints), complaints
    assert all(any(kind in line for kind in theirs) for line in complaints), complaints


def test_adapters_of_replicas(finished_run) -> None:
    """Pools that serve LoRA adapters say which ones run and wait, at the time of the page; a whole pool names none."""
    pools = tuple(replace(pool, max_loras=2) for pool in finished_run.metadata.pools)
    run = replace(finished_run, metadata=replace(finished_run.metadata, pools=pools))
    text = _page(run, adapters={0: (("de", "fr"), ("it",))})
    own = {**MODEL, "max_lora": "2"}
    running = {"running_lora_adapters": "de,fr", "waiting_lora_adapters": "it"}
    assert _value(text, "vllm:lora_requests_info", engine="0", **own, **running) == 0.04
    none = {"running_lora_adapters": "", "waiting_lora_adapters": ""}
    assert _value(text, "vllm:lora_requests_info", engine="1", **own, **none) == 0.04
    pooled = _page(run, engine_limit=1, adapters={0: (("de",), ())})
    assert _value(pooled, "vllm:lora_requests_info", engine="main", **own, **none) == 0.04
    assert "lora" not in _page(finished_run)
