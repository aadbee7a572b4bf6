"""vLLM v1's own series of engines (``vllm/v1/metrics/loggers.py``): names, labels, boundaries and definitions."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from cluster_sim.metrics.exposition.engine_group import EngineGroup
from cluster_sim.metrics.exposition.family import Family, Histograms, Labels, Scalars, seconds
from cluster_sim.metrics.live import NO_ADAPTERS, LiveSnapshot
from cluster_sim.metrics.request_totals import HISTOGRAMS, SUMS
from cluster_sim.recording import buckets, first_tokens
from cluster_sim.recording.draft_counts import POSITIONS
from cluster_sim.recording.statuses import CANCELLED, FAILED, FINISHED, STATUSES

Int64Array = npt.NDArray[np.int64]

FINISHED_REASONS: Final = {"stop": None, "length": FINISHED, "abort": CANCELLED, "error": FAILED, "repetition": None}
"""vLLM's reasons and the status that each counts; a request that finishes has reached its output length."""

_LATENCIES: Final = {
    "tpot": ("vllm:request_time_per_output_token_seconds", buckets.TOKEN_GAP_S, "Time per output token of a request."),
    "e2e": ("vllm:e2e_request_latency_seconds", buckets.REQUEST_S, "End to end request latency in seconds."),
    "queue": ("vllm:request_queue_time_seconds", buckets.REQUEST_S, "Time in WAITING phase for request."),
    "inference": ("vllm:request_inference_time_seconds", buckets.REQUEST_S, "Time in RUNNING phase for request."),
    "prefill": ("vllm:request_prefill_time_seconds", buckets.REQUEST_S, "Time in PREFILL phase for request."),
    "decode": ("vllm:request_decode_time_seconds", buckets.REQUEST_S, "Time in DECODE phase for request."),
}
_TOKENS: Final = {
    "vllm:request_prompt_tokens": ("prompt_tokens", "Number of prefill tokens processed."),
    "vllm:request_generation_tokens": ("output_tokens", "Number of generation tokens processed."),
    "vllm:request_max_num_generation_tokens": ("output_tokens", "Maximum number of requested generation tokens."),
    "vllm:request_params_max_tokens": ("output_tokens", "The max_tokens request parameter."),
    "vllm:request_prefill_kv_computed_tokens": ("computed_tokens", "New KV tokens computed during prefill."),
}
_PARAMS_N: Final = (1, 2, 5, 10, 20)
_SOURCES: Final = ("local_compute", "local_cache_hit", "external_kv_transfer")
_SLEEP: Final = ("awake", "weights_offloaded", "discard_all")
_SUM: Final = {name: index for index, name in enumerate(SUMS)}


def vllm_families(group: EngineGroup, snapshot: LiveSnapshot) -> Iterator[Family]:
    """Yield the families of the engines of ``group``."""
    yield from _gauges(group, snapshot)
    yield from _counters(group, snapshot)
    yield from _step_histograms(group, snapshot)
    yield from _request_histograms(group, snapshot)
    yield from _features(group, snapshot)


def kv_usage(group: EngineGroup, snapshot: LiveSnapshot) -> list[float]:
    """Return the share of KV blocks in use of every engine: of a pool the mean over its replicas."""
    used = snapshot.engines.figure("kv_used_blocks")[group.rows].tolist()
    present = snapshot.engines.figure("present")[group.rows].tolist()
    return [
        blocks / (max(engine.pool.kv_blocks, 1) * max(replicas, 1))
        for engine, blocks, replicas in zip(group.engines, used, present, strict=True)
    ]


def _gauges(group: EngineGroup, snapshot: LiveSnapshot) -> Iterator[Family]:
    labels, engines, rows = group.labels, snapshot.engines, group.rows
    waiting = engines.figure("waiting")[rows].tolist()
    running = engines.figure("running")[rows].tolist()
    yield Scalars(
        "vllm:num_requests_running", "gauge", "Number of requests in model execution batches.", labels, running
    )
    yield Scalars("vllm:num_requests_waiting", "gauge", "Number of requests waiting to be processed.", labels, waiting)
    by_reason = [count for capacity in waiting for count in (capacity, 0)]
    yield Scalars(
        "vllm:num_requests_waiting_by_reason",
        "gauge",
        "Number of requests waiting, by why: for capacity, or deferred by constraints that pass.",
        group.labelled("reason", ("capacity", "deferred")),
        by_reason,
    )
    yield Scalars(
        "vllm:engine_sleep_state",
        "gauge",
        "Engine sleep state; 1 for the one that it is in.",
        group.labelled("sleep_state", _SLEEP),
        [1, 0, 0] * len(labels),
    )
    usage = kv_usage(group, snapshot)
    yield Scalars("vllm:kv_cache_usage_perc", "gauge", "KV-cache usage. 1 means 100 percent usage.", labels, usage)
    text = "Information of the LLMEngine CacheConfig"
    yield Scalars("vllm:cache_config_info", "gauge", text, _cache_labels(group), [1] * len(labels))


def _cache_labels(group: EngineGroup) -> list[Labels]:
    return group.derived(
        "cache_config",
        lambda engine: {
            "block_size": str(engine.pool.block_size_tokens),
            "num_gpu_blocks": str(engine.pool.kv_blocks),
            "enable_prefix_caching": str(engine.pool.has_prefix_cache),
        },
    )


def _counters(group: EngineGroup, snapshot: LiveSnapshot) -> Iterator[Family]:
    labels, engines, rows = group.labels, snapshot.engines, group.rows
    prompts, cached, external = (
        engines.first_tokens(row)[rows]
        for row in (first_tokens.PROMPT_TOKENS, first_tokens.CACHED_TOKENS, first_tokens.EXTERNAL_TOKENS)
    )

    def figure(name: str) -> Int64Array:
        return engines.figure(name)[rows]

    local_hits = figure("prefix_hits_tokens") - figure("loaded_hits_tokens")
    families = (
        ("vllm:prompt_tokens_total", "Number of prefill tokens processed.", prompts),
        (
            "vllm:prompt_tokens_cached_total",
            "Number of prefill tokens found in caches.",
            cached + external,
        ),
        ("vllm:generation_tokens_total", "Number of generation tokens processed.", figure("generated_tokens")),
        ("vllm:num_preemptions_total", "Cumulative number of preemption from the engine.", figure("preemptions")),
        (
            "vllm:prefix_cache_queries_total",
            "Prefix cache queries, in terms of number of queried tokens.",
            figure("prefix_queries_tokens"),
        ),
        ("vllm:prefix_cache_hits_total", "Prefix cache hits, in terms of number of cached tokens.", local_hits),
    )
    for name, text, values in families:
        yield Scalars(name, "counter", text, labels, values.tolist())
    by_source = np.stack([prompts - cached - external, cached, external], axis=1).ravel().tolist()
    yield Scalars(
        "vllm:prompt_tokens_by_source_total",
        "counter",
        "Number of prefill tokens by where they came from.",
        group.labelled("source", _SOURCES),
        by_source,
    )
    statuses = snapshot.requests.engine_statuses[rows]
    columns = [
        np.zeros(len(rows), np.int64) if status is None else statuses[:, STATUSES.index(status)]
        for status in FINISHED_REASONS.values()
    ]
    yield Scalars(
        "vllm:request_success_total",
        "counter",
        "Count of successfully processed requests.",
        group.labelled("finished_reason", tuple(FINISHED_REASONS)),
        np.stack(columns, axis=1).ravel().tolist(),
    )


def _step_histograms(group: EngineGroup, snapshot: LiveSnapshot) -> Iterator[Family]:
    engines, rows = snapshot.engines, group.rows
    steps = engines.iteration_tokens_counts[rows]
    totals = engines.figure("iteration_tokens_sum")[rows].tolist()
    bounds = buckets.ITERATION_TOKENS
    parts = group.histogram(steps, bounds, bounds, totals)
    yield Histograms("vllm:iteration_tokens_total", "Histogram of number of tokens per engine_step.", parts)
    totals = seconds(engines.figure("itl_sum_ns")[rows])
    parts = group.histogram(engines.itl_counts[rows], buckets.TOKEN_GAP_S, buckets.TOKEN_GAP_S, totals)
    yield Histograms("vllm:inter_token_latency_seconds", "Histogram of inter-token latency in seconds.", parts)
    counts = engines.first_tokens(first_tokens.TTFT_COUNTS)[rows]
    totals = seconds(engines.first_tokens(first_tokens.TTFT_SUM_NS)[rows])
    parts = group.histogram(counts, buckets.TTFT_GRID_S, buckets.TTFT_S, totals)
    yield Histograms("vllm:time_to_first_token_seconds", "Histogram of time to first token in seconds.", parts)


def _request_histograms(group: EngineGroup, snapshot: LiveSnapshot) -> Iterator[Family]:
    requests, rows = snapshot.requests, group.rows
    for key, (name, bounds, text) in _LATENCIES.items():
        totals = seconds(requests.sums[rows, _SUM[f"{key}_ns"]])
        yield Histograms(name, text, group.histogram(requests.histograms[key][rows], HISTOGRAMS[key], bounds, totals))
    for name, (key, text) in _TOKENS.items():
        sums = token_sums(requests.sums, rows, key)
        parts = group.token_histogram(requests.histograms[key][rows], requests.token_bounds, sums)
        yield Histograms(name, text, parts)
    finished = requests.sums[rows, _SUM["finished"]].tolist()
    counts = np.zeros((len(rows), len(_PARAMS_N) + 1), np.int64)
    counts[:, 0] = finished
    parts = group.histogram(counts, _PARAMS_N, _PARAMS_N, finished)
    yield Histograms("vllm:request_params_n", "The n request parameter.", parts)


def token_sums(sums: npt.NDArray[np.object_], rows: Int64Array, key: str) -> Sequence[int]:
    """Return the sums behind one of ``TOKEN_HISTOGRAMS``."""
    if key == "computed_tokens":
        computed: list[int] = (sums[rows, _SUM["prompt_tokens"]] - sums[rows, _SUM["cached_tokens"]]).tolist()
        return computed
    plain: list[int] = sums[rows, _SUM[key]].tolist()
    return plain


def _features(group: EngineGroup, snapshot: LiveSnapshot) -> Iterator[Family]:
    """Yield what engines with certain features have."""
    external = group.having("external", lambda pool: pool.has_external_cache)
    if external is not None:
        for name, key in (("queries", "loaded_queries_tokens"), ("hits", "loaded_hits_tokens")):
            values = snapshot.engines.figure(key)[external.rows].tolist()
            text = f"External prefix cache {name} from KV connector cross-instance cache sharing, in tokens."
            yield Scalars(f"vllm:external_prefix_cache_{name}_total", "counter", text, external.labels, values)
    speculative = group.having("speculative", lambda pool: pool.draft_tokens > 0)
    if speculative is not None:
        yield from _speculation(speculative, snapshot)
    adapted = group.having("lora", lambda pool: pool.max_loras > 0)
    if adapted is not None:
        yield Scalars(
            "vllm:lora_requests_info",
            "gauge",
            "Running stats on LoRA requests: the simulated time at which they were so.",
            [_adapter_labels(adapted, place, snapshot) for place in range(len(adapted.engines))],
            [snapshot.simulated_s] * len(adapted.engines),
        )
    decoding = group.having("decode", lambda pool: pool.role == "decode")
    if decoding is not None:
        yield from _transfers(decoding, snapshot)


def _adapter_labels(group: EngineGroup, place: int, snapshot: LiveSnapshot) -> Labels:
    """Return the labels of an engine with what it has of adapters; of a whole pool the names are not told."""
    engine = group.engines[place]
    active, awaited = snapshot.adapters.get(engine.replica, NO_ADAPTERS)
    return group.labels[place].plus(
        max_lora=str(engine.pool.max_loras),
        waiting_lora_adapters=",".join(awaited),
        running_lora_adapters=",".join(active),
    )


def _speculation(group: EngineGroup, snapshot: LiveSnapshot) -> Iterator[Family]:
    engines, rows = snapshot.engines, group.rows
    for name, key, text in (
        ("num_drafts", "drafts", "Number of spec decoding drafts."),
        ("num_draft_tokens", "draft_tokens", "Number of draft tokens."),
        ("num_accepted_tokens", "accepted_tokens", "Number of accepted tokens."),
    ):
        values = engines.figure(key)[rows].tolist()
        yield Scalars(f"vllm:spec_decode_{name}_total", "counter", text, group.labels, values)
    most = min(max(engine.pool.draft_tokens for engine in group.engines), POSITIONS)
    yield Scalars(
        "vllm:spec_decode_num_accepted_tokens_per_pos_total",
        "counter",
        "Accepted tokens per draft position.",
        group.labelled("position", [str(position) for position in range(most)]),
        engines.accepted_by_position[rows][:, :most].ravel().tolist(),
    )


def _transfers(group: EngineGroup, snapshot: LiveSnapshot) -> Iterator[Family]:
    requests, rows = snapshot.requests, group.rows
    totals = seconds(requests.sums[rows, _SUM["transfer_ns"]])
    counts = requests.histograms["transfer"][rows]
    parts = group.histogram(counts, buckets.NIXL_S, buckets.NIXL_S, totals)
    yield Histograms("vllm:nixl_xfer_time_seconds", "Duration of NIXL KV cache transfers.", parts)
    sizes = requests.sums[rows, _SUM["transfer_bytes"]].tolist()
    counts = requests.histograms["transfer_bytes"][rows]
    parts = group.histogram(counts, buckets.NIXL_BYTES, buckets.NIXL_BYTES, sizes)
    yield Histograms("vllm:nixl_bytes_transferred", "Bytes of NIXL KV cache transfers.", parts)
